"""Networks of transformers and timm with one softmax per pixel: SegFormer, any other by its
weights, and foundation encoders under a head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbcss.contract import BackendInfo
from benchbcss.hookspecs import hookimpl

#: one encoder each; any other is a recipe that extends foundation.yaml
FOUNDATION = {
    "foundation": "DINOv2 ViT-L, or any encoder of timm or transformers, with LoRA and a head",
    "foundation_dinov3": "DINOv3 ViT-L with LoRA and a head",
    "foundation_uni2h": "UNI2-h with LoRA and a head",
    "foundation_virchow2": "Virchow2 with LoRA and a head",
    "foundation_hoptimus0": "H-optimus-0 with LoRA and a head",
    "foundation_hoptimus1": "H-optimus-1 with LoRA and a head",
    "foundation_gigapath": "Prov-GigaPath's tile encoder with LoRA and a head",
    "foundation_conch": "CONCH's vision tower with LoRA and a head",
    "foundation_phikon2": "Phikon-v2 with LoRA and a head; TCGA was in its pretraining",
}


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
                open_settings=("model.config", "model.variants"),
            ),
            target,
        )
    _register_sam3(register)
    for name, summary in FOUNDATION.items():
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=frozenset({"semantic"}),
                recipe=f"benchbcss_hf:{name}.yaml",
                requires=(
                    "peft",
                    "segmentation_models_pytorch",
                    "timm",
                    "transformers",
                    "huggingface_hub",
                    "safetensors",
                ),
                extra="foundation",
                open_settings=("model.encoder.arguments", "model.encoder.config"),
            ),
            "benchbcss_hf.foundation:FoundationBackend",
        )


def _register_sam3(register: Callable[[Any, str], None]) -> None:
    for name, summary, track, target in (
        (
            "sam3",
            "Segment Anything 3 as Meta released it, by points and boxes, never trained here",
            "prompted",
            "benchbcss_hf.sam3:Sam3Prompted",
        ),
        (
            "sam3_text",
            "Segment Anything 3 by phrases, zero-shot; no hint from ground truth",
            "semantic",
            "benchbcss_hf.sam3:Sam3Text",
        ),
    ):
        register(
            BackendInfo(
                name=name,
                summary=summary,
                tracks=frozenset({track}),
                recipe=f"benchbcss_hf:{name}.yaml",
                requires=("transformers", "huggingface_hub", "safetensors"),
                extra="hf",
                trains=False,
                abstains=track == "semantic",
                open_settings=("model.config", "predict.phrases.CLASS"),
            ),
            target,
        )
