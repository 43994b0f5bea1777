"""Any semantic segmentation network of transformers, its classes mapped to the suite's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    register(
        BackendInfo(
            name="hf_semantic",
            summary="Any AutoModelForSemanticSegmentation (SegFormer, UPerNet, ...) by --weights",
            tracks=frozenset({"semantic"}),
            recipe="benchbcss_hf:hf_semantic.yaml",
            requires=("transformers", "huggingface_hub", "safetensors"),
            extra="hf",
        ),
        "benchbcss_hf.backend:HFSemantic",
    )
