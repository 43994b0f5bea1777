"""SAM2's image path at any size that its encoder takes (multiples of 32 px).

Upstream's image predictor fixes feature sizes for 1024 px; here sizes follow from the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sam2.build_sam import build_sam2
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss.errors import RecipeError
from benchbcss.inference.networks import TakesRgb
from benchbcss.inference.precision import full

VARIANTS = {"t": "tiny", "s": "small", "b+": "base-plus", "l": "large"}
CELL = 16  # pixels per embedding cell
STRIDE = 32  # what the encoder halves an image to
FEATURES = 256 + 64 + 32  # embedding and the two high-resolution maps, averaged per cell

# ImageNet statistics, as upstream's transforms use them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Encoded:
    """An encoded batch: embedding [B, 256, S/16, S/16] and maps [B, 32, S/4, S/4] and
    [B, 64, S/8, S/8]."""

    embedding: Tensor
    high: list[Tensor]

    def take(self, index: Tensor) -> Encoded:
        """The images at ``index`` int64 [N], repeated as it says."""
        return Encoded(self.embedding[index], [level[index] for level in self.high])


class Probe(nn.Module):
    """A linear classifier of standardised features, kept in buffers, in float32 always. Unfitted,
    all logits are 0."""

    weight: Tensor
    bias: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_classes, features))
        self.register_buffer("bias", torch.zeros(num_classes))
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, D]."""
        with full(features.device):
            return (features.float() - self.centre) / self.scale @ self.weight.T + self.bias


class Promptable(TakesRgb):
    """What prompting, painting and the backend need of a network, SAM2 or SAM."""

    probe: nn.Module  # what the labeller learns

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by the names that recipes use."""
        raise NotImplementedError

    def encode(self, image: Tensor) -> Encoded:
        """image float [B, 3, S, S] in [0, 1]."""
        raise NotImplementedError

    def decode(
        self, encoded: Encoded, points: Tensor, labels: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts for N objects on N encoded images.

        ``points`` float [N, P, 2] (x, y) px, ``labels`` int [N, P]: 1 and 0 clicks, 2 and 3 box
        corners, -1 padding. Returns mask logits [N, M, S/4, S/4] (M is 3 with ``multimask``,
        else 1), predicted IoU [N, M], object-presence logits [N, 1].
        """
        raise NotImplementedError

    def features(self, encoded: Encoded) -> Tensor:
        """float32 [B, D, S/16, S/16]: what the probe sees of each embedding cell."""
        cells = encoded.embedding.shape[-2:]
        pooled = [F.adaptive_avg_pool2d(level.float(), cells) for level in encoded.high]
        return torch.cat([encoded.embedding.float(), *pooled], 1)


def sam2(variant: str, size: int) -> SAM2Base:
    """SAM2.1 with random weights for images of ``size`` px. Raises RecipeError."""
    if variant not in VARIANTS:
        raise RecipeError(f"model.variant: there is no '{variant}'. Known: {', '.join(VARIANTS)}.")
    if size % STRIDE:
        raise RecipeError(f"view.size must be a multiple of {STRIDE} for SAM2, got {size}.")
    made: SAM2Base = build_sam2(
        f"configs/sam2.1/sam2.1_hiera_{variant}.yaml",
        device="cpu",
        mode="train",
        hydra_overrides_extra=[f"++model.image_size={size}"],
        apply_postprocessing=False,
    )
    return made


def encoder_groups(encoder: nn.Module) -> dict[str, list[nn.Parameter]]:
    """SAM2's image encoder by the names that recipes use for gradual unfreezing."""
    trunk = encoder.trunk
    half = trunk.stage_ends[1] + 1
    early = [
        *trunk.patch_embed.parameters(),
        trunk.pos_embed,
        trunk.pos_embed_window,
        *trunk.blocks[:half].parameters(),
    ]
    return {
        "encoder_stages12": early,
        "encoder_stages34": list(trunk.blocks[half:].parameters()),
        "encoder_neck": list(encoder.neck.parameters()),
    }


def feature_levels(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    """Maps [B, 256, S/4, S/4], [.., S/8, S/8] and [.., S/16, S/16] of a normalised image; a frozen
    encoder keeps no graph."""
    learns = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
    with torch.set_grad_enabled(learns):
        levels: list[Tensor] = encoder(image)["backbone_fpn"]
    return levels


class SamNet(Promptable):
    """SAM2 and the linear probe that names regions."""

    def __init__(self, variant: str, size: int, num_classes: int) -> None:
        super().__init__(MEAN, STD)
        self.sam: SAM2Base = sam2(variant, size)
        used = {id(p) for group in self.groups().values() for p in group}
        for parameter in self.sam.parameters():  # video memory: part of the checkpoint, not used
            parameter.requires_grad_(id(parameter) in used)
        self.size = size
        self.probe = Probe(num_classes, FEATURES)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by the names that recipes use."""
        return {
            **encoder_groups(self.sam.image_encoder),
            "decoder": [
                *self.sam.sam_prompt_encoder.parameters(),
                *self.sam.sam_mask_decoder.parameters(),
                self.sam.no_mem_embed,
            ],
        }

    def encode(self, image: Tensor) -> Encoded:
        """image float [B, 3, S, S] in [0, 1]; a frozen encoder keeps no graph."""
        levels = feature_levels(self.sam.image_encoder, self.normalised(image))
        decoder = self.sam.sam_mask_decoder
        embedding = levels[2] + self.sam.no_mem_embed.reshape(1, -1, 1, 1)
        return Encoded(embedding, [decoder.conv_s0(levels[0]), decoder.conv_s1(levels[1])])

    def decode(
        self, encoded: Encoded, points: Tensor, labels: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Promptable.decode``. Images may have another size than the nominal one: the prompt
        encoder knows only that, so points are scaled to it."""
        cells = encoded.embedding.shape[-2:]
        points = points * (self.size / (CELL * cells[0]))
        sparse, dense = self.sam.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
        masks, iou, _, present = self.sam.sam_mask_decoder(
            image_embeddings=encoded.embedding,
            image_pe=self.sam.sam_prompt_encoder.pe_layer(cells)[None],
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense[:, :, :1, :1].expand(-1, -1, *cells),
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=encoded.high,
        )
        return masks, iou, present
