"""The SAM2 family: promptable fine-tuning; whole maps by proposing masks and labelling them, or by
a head of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl

REQUIRES = ("sam2", "hydra", "iopath", "huggingface_hub", "sklearn")
#: v3's ideas, one recipe each without it
ABLATIONS = ("class_weights", "unfreezing", "stain", "elastic", "early_stopping")


@hookimpl
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    both, sam2 = frozenset({"semantic", "prompted"}), "benchbcss_sam2.backend:Sam2"
    for name, summary, tracks, target in (
        ("sam2_v1", "SAM2.1 fine-tuned as base_finetune_v1, whose training collapsed", both, sam2),
        ("sam2_v2", "SAM2.1 fine-tuned as base_finetune_v2_stable, encoder frozen", both, sam2),
        (
            "sam2_v3",
            "SAM2.1 fine-tuned with class-weighted losses; probe labels its proposals",
            both,
            sam2,
        ),
        *(
            (f"sam2_v3_no_{idea}", f"sam2_v3 without {idea.replace('_', ' ')}", both, sam2)
            for idea in ABLATIONS
        ),
        (
            "sam2_lora",
            "SAM2.1 with low-rank adapters in a frozen encoder (peft)",
            both,
            "benchbcss_sam2.lora:Sam2Lora",
        ),
        (
            "sam2_dense",
            "SAM2.1's encoder under a head for classes, v3's schedule; no proposals",
            frozenset({"semantic"}),
            "benchbcss_sam2.dense:Sam2Dense",
        ),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=tracks,
                recipe=f"benchbcss_sam2:{name}.yaml",
                requires=(*REQUIRES, "peft") if name == "sam2_lora" else REQUIRES,
                extra="sam2",
            ),
            target,
        )
    _register_untrained(register)


def _register_untrained(register: Callable[[Any, str], None]) -> None:
    for name, summary, tracks, target, more in (
        (
            "sam_zeroshot",
            "SAM2.1 as Meta released it, never trained here",
            frozenset({"semantic", "prompted"}),
            "benchbcss_sam2.backend:ZeroShot",
            (),
        ),
        (
            "medsam",
            "MedSAM, a fine-tuned SAM, by boxes, never trained here",
            frozenset({"prompted"}),
            "benchbcss_sam2.backend:MedSam",
            ("transformers",),
        ),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=tracks,
                recipe=f"benchbcss_sam2:{name}.yaml",
                requires=(*REQUIRES, *more),
                extra="sam2",
                trains=False,
            ),
            target,
        )


@hookimpl
def benchbcss_register_labellers(register: Callable[..., None]) -> None:
    for name, target, summary in (
        ("probe", "Probed", "logistic regression on the backend's own embeddings"),
        ("clip_probe", "ClipProbed", "logistic regression on CLIP's image embeddings"),
    ):
        register(name, f"benchbcss_sam2.labelling:{target}", summary, learns=True)
