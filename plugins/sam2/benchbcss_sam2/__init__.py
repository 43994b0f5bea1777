"""The SAM2 family: promptable fine-tuning, and whole maps by proposing masks and labelling them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl

REQUIRES = ("sam2", "hydra", "iopath", "huggingface_hub", "sklearn")


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    for name, summary in (
        ("sam2_v1", "SAM2.1 fine-tuned as base_finetune_v1, whose training collapsed"),
        ("sam2_v2", "SAM2.1 fine-tuned as base_finetune_v2_stable, encoder frozen"),
        ("sam2_v3", "SAM2.1 fine-tuned with class-weighted losses; probe labels its proposals"),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=frozenset({"semantic", "prompted"}),
                recipe=f"benchbcss_sam2:{name}.yaml",
                requires=REQUIRES,
                extra="sam2",
            ),
            "benchbcss_sam2.backend:Sam2",
        )
    register(
        BackendInfo(
            name="sam_zeroshot",
            summary="SAM2.1 as Meta released it, never trained here",
            tracks=frozenset({"semantic", "prompted"}),
            recipe="benchbcss_sam2:sam_zeroshot.yaml",
            requires=REQUIRES,
            extra="sam2",
            trains=False,
        ),
        "benchbcss_sam2.backend:ZeroShot",
    )


@hookimpl
def benchbcss_register_labellers(register: Callable[..., None]) -> None:
    for name, target, summary in (
        ("probe", "Probed", "logistic regression on the backend's own embeddings"),
        ("clip_probe", "ClipProbed", "logistic regression on CLIP's image embeddings"),
    ):
        register(name, f"benchbcss_sam2.labelling:{target}", summary, learns=True)
