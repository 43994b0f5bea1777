"""Mask2Former on the harness's data, with a loss that knows what to ignore."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    register(
        BackendInfo(
            name="mask2former",
            summary="Mask2Former (Swin, ADE20K weights), points sampled off ignored pixels",
            tracks=frozenset({"semantic"}),
            recipe="benchbcss_mask2former:mask2former.yaml",
            requires=("transformers", "huggingface_hub", "safetensors", "scipy"),
            extra="mask2former",
        ),
        "benchbcss_mask2former.backend:Mask2Former",
    )
