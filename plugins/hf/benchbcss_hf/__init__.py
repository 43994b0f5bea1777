"""Networks of transformers with one softmax per pixel: SegFormer, and any other by its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    for name, summary, target in (
        (
            "hf_semantic",
            "Any AutoModelForSemanticSegmentation (SegFormer, UPerNet, ...) by --weights",
            "benchbcss_hf.backend:HFSemantic",
        ),
        (
            "segformer",
            "SegFormer (MiT-B2, ImageNet; B0 to B5 by recipe), class-balanced CE + Dice",
            "benchbcss_hf.segformer:Segformer",
        ),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=frozenset({"semantic"}),
                recipe=f"benchbcss_hf:{name}.yaml",
                requires=("transformers", "huggingface_hub", "safetensors"),
                extra="hf",
            ),
            target,
        )
