"""The original SAM (Kirillov et al. 2023) through transformers, behind the same interface, and what
was fine-tuned from it (MedSAM, Ma et al. 2024)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from benchbcss.errors import RecipeError
from benchbcss.training.adapters import load_plain
from benchbcss_sam2.network import CELL, MEAN, STD, Encoded, Probe, Promptable

FEATURES = 256
#: recipe's variant -> hub id, and the encoder's width, depth, heads and global-attention layers
VARIANTS = {
    "b": ("facebook/sam-vit-base", 768, 12, 12, (2, 5, 8, 11)),
    "l": ("facebook/sam-vit-large", 1024, 24, 16, (5, 11, 17, 23)),
    "h": ("facebook/sam-vit-huge", 1280, 32, 16, (7, 15, 23, 31)),
    "mini": ("", 64, 2, 2, (1,)),  # ours, for smoke runs: there are no weights of it
}
#: how an image is scaled before the encoder: by ImageNet's statistics, as SAM does, or each to
#: [0, 1] by its own least and greatest value, as MedSAM does (its MedSAM_Inference.py)
SCALINGS = ("imagenet", "minmax")


class Sam1Net(Promptable):
    """SAM at its own 1024 px, or from random weights at any multiple of 16 px."""

    def __init__(
        self, variant: str, size: int, num_classes: int, scaling: str = "imagenet"
    ) -> None:
        super().__init__(MEAN, STD)
        if scaling not in SCALINGS:
            raise RecipeError(
                f"model.normalisation: there is no '{scaling}'. Known: {', '.join(SCALINGS)}."
            )
        self.scaling = scaling
        if variant not in VARIANTS:
            raise RecipeError(
                f"model.variant: SAM has no '{variant}'. Known: {', '.join(VARIANTS)}."
            )
        if size % CELL:
            raise RecipeError(f"view.size must be a multiple of {CELL} for SAM, got {size}.")
        _, width, depth, heads, whole = VARIANTS[variant]
        config = SamConfig(
            vision_config={
                "hidden_size": width,
                "num_hidden_layers": depth,
                "num_attention_heads": heads,
                "global_attn_indexes": list(whole),
                "image_size": size,
            },
            prompt_encoder_config={"image_size": size, "image_embedding_size": size // CELL},
        )
        self.sam = SamModel(config)
        self.probe = Probe(num_classes, FEATURES)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"all": list(self.sam.parameters())}

    def encode(self, image: Tensor) -> Encoded:
        return Encoded(self.sam.get_image_embeddings(self.scaled(image)), [])

    def scaled(self, image: Tensor) -> Tensor:
        """As the encoder was trained to see images; see ``SCALINGS``."""
        if self.scaling == "imagenet":
            return self.normalised(image)
        least, most = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
        return (image - least) / (most - least).clamp(min=1e-8)

    def decode(
        self, encoded: Encoded, points: Tensor, labels: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Promptable.decode``; every object has the same kinds of points in the same order.
        SAM has no object-presence head: its logits are 0."""
        corners = labels[0] >= 2
        boxes = points[:, corners].flatten(1)[:, None] if corners.any() else None
        clicks = points[:, ~corners][:, None] if (~corners).any() else None
        output = self.sam(
            image_embeddings=encoded.embedding,
            input_points=clicks,
            input_labels=None if clicks is None else labels[:, ~corners][:, None].long(),
            input_boxes=boxes,
            multimask_output=multimask,
        )
        presence = torch.zeros(len(points), 1, device=points.device)
        return output.pred_masks[:, 0], output.iou_scores[:, 0], presence


#: (pattern, replacement) from Meta's names to transformers'; the order matters
_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^(vision_encoder\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "POSITIONS"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"(\.transformer\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"\.transformer\.norm_final_attn\.", ".transformer.layer_norm_final_attn."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(\.(output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.", r"\1.proj_in."),
    (r"(\.(output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.1\.", r"\1.layers.0."),
    (r"(\.(output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.2\.", r"\1.proj_out."),
)
#: one tensor of two names, of which files hold one or both
_POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
_STATISTICS = ("pixel_mean", "pixel_std")  # Meta's buffers, which are ours by another name


def from_meta(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as Meta's ``segment_anything`` names them, in sam_vit_b_01ec64.pth and in what was
    fine-tuned with it, under the names of transformers; those that are so called already stay."""
    meta = any(name.startswith("image_encoder.") for name in state)
    made: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _STATISTICS:
            continue
        new = name
        for pattern, replacement in _RENAMED if meta else ():
            new = re.sub(pattern, replacement, new)
        made[_POSITIONS[0] if new == "POSITIONS" else new] = tensor
    known = next((made[name] for name in _POSITIONS if name in made), None)
    return made if known is None else {**dict.fromkeys(_POSITIONS, known), **made}


def loader(sam: nn.Module, given: str) -> Callable[[dict[str, Tensor]], Any]:
    """Loads either's tensors into ``sam``; raises WeightsError, which begins with ``given``."""
    return lambda state: load_plain(sam, from_meta(state), given)
