"""The SAM2 family: promptable fine-tuning; whole maps by proposing masks and labelling them, or by
a head of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl

REQUIRES = ("sam2", "hydra", "iopath", "huggingface_hub", "sklearn")
#: what some of them need besides
MORE = {"sam2_lora": ("peft",), "medsam": ("transformers",)}
UNTRAINED = ("sam_zeroshot", "medsam")
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
        (
            "sam_zeroshot",
            "SAM2.1 as Meta released it, never trained here",
            both,
            "benchbcss_sam2.backend:ZeroShot",
        ),
        (
            "medsam",
            "MedSAM, a fine-tuned SAM, by boxes, never trained here",
            frozenset({"prompted"}),
            "benchbcss_sam2.backend:MedSam",
        ),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=tracks,
                recipe=f"benchbcss_sam2:{name}.yaml",
                requires=(*REQUIRES, *MORE.get(name, ())),
                extra="sam2",
                trains=name not in UNTRAINED,
                open_settings=("loss.class_weights.CLASS",),
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
