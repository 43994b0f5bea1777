"""Mask2Former and EoMT on the harness's data, with a loss that knows what to ignore."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    for name, summary, target in (
        (
            "mask2former",
            "Mask2Former (Swin, ADE20K weights), points sampled off ignored pixels",
            "benchbcss_mask2former.backend:Mask2Former",
        ),
        (
            "eomt",
            "EoMT (DINOv2 or DINOv3 ViT), points sampled off ignored pixels",
            "benchbcss_mask2former.eomt:Eomt",
        ),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=frozenset({"semantic"}),
                recipe=f"benchbcss_mask2former:{name}.yaml",
                requires=("transformers", "huggingface_hub", "safetensors", "scipy"),
                extra="mask2former",
                open_settings=("model.variants",),
            ),
            target,
        )
