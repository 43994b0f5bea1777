"""UNet++ on the harness's data, with any smp or timm encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    register(
        BackendInfo(
            name="unetpp",
            summary="UNet++ (resnet34 ImageNet encoder), class-balanced CE + Dice",
            tracks=frozenset({"semantic"}),
            recipe="benchbcss_unetpp:unetpp.yaml",
            requires=("segmentation_models_pytorch", "timm", "huggingface_hub", "safetensors"),
            extra="unetpp",
        ),
        "benchbcss_unetpp.backend:UNetPP",
    )
