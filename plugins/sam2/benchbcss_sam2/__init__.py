"""The SAM2 family: promptable fine-tuning, and whole maps by proposing masks and labelling them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    register(
        BackendInfo(
            name="sam2_v3",
            summary="SAM2.1 fine-tuned with class-weighted losses; probe labels its proposals",
            tracks=frozenset({"semantic", "prompted"}),
            recipe="benchbcss_sam2:sam2_v3.yaml",
            requires=("sam2", "hydra", "iopath", "huggingface_hub", "sklearn"),
            extra="sam2",
        ),
        "benchbcss_sam2.backend:Sam2",
    )
