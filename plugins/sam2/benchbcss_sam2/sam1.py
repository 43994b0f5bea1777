"""The original SAM (Kirillov et al. 2023) through transformers, behind the same interface."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from benchbcss.errors import RecipeError
from benchbcss_sam2.network import _MEAN, _STD, CELL, Encoded, Probe, Promptable

FEATURES = 256
#: recipe's variant -> hub id, and the encoder's width, depth, heads and global-attention layers
VARIANTS = {
    "b": ("facebook/sam-vit-base", 768, 12, 12, (2, 5, 8, 11)),
    "l": ("facebook/sam-vit-large", 1024, 24, 16, (5, 11, 17, 23)),
    "h": ("facebook/sam-vit-huge", 1280, 32, 16, (7, 15, 23, 31)),
}


class Sam1Net(Promptable):
    """SAM at its own 1024 px, or from random weights at any multiple of 16 px."""

    def __init__(self, variant: str, size: int, num_classes: int) -> None:
        super().__init__(_MEAN, _STD)
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
        return Encoded(self.sam.get_image_embeddings(self.normalised(image)), [])

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
