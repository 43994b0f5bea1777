"""TransUNet on the harness's data, on timm's hybrid of ResNet-50 and ViT-B/16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    register(
        BackendInfo(
            name="transunet",
            summary="TransUNet (R50+ViT-B/16, ImageNet-21k), class-balanced CE + Dice",
            tracks=frozenset({"semantic"}),
            recipe="benchbcss_transunet:transunet.yaml",
            requires=("timm", "huggingface_hub", "safetensors"),
            extra="transunet",
        ),
        "benchbcss_transunet.backend:TransUNet",
    )
