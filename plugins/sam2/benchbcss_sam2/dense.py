"""sam2_dense: SAM2.1's image encoder under a decoder that knows the classes. No prompts and no
proposals: one forward pass, one softmax per pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss.contract import Backend, Batch
from benchbcss.errors import RecipeError
from benchbcss.inference.networks import TakesRgb
from benchbcss.inference.views import pad
from benchbcss.training.losses import dense_loss
from benchbcss.weights import Weights
from benchbcss.weights.loading import load_into
from benchbcss_sam2 import weights as stored
from benchbcss_sam2.losses import class_weights
from benchbcss_sam2.network import MEAN, STD, STRIDE, encoder_groups, feature_levels, sam2

LEVELS = 3  # of the neck's pyramid: strides 4, 8 and 16
CHANNELS = 256  # of each
GROUPS = 8  # of channels that are normalised together


class DenseHead(nn.Module):
    """All-MLP decoder (Xie et al. 2021) on the neck's pyramid: every level is projected to
    ``width``, enlarged to a quarter of the image, and all are mixed pixel by pixel."""

    def __init__(self, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(CHANNELS, width, 1) for _ in range(LEVELS))
        # statistics of one image: a batch may hold two
        self.mix = nn.Sequential(
            nn.Conv2d(LEVELS * width, width, 1, bias=False), nn.GroupNorm(GROUPS, width), nn.GELU()
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps [B, 256, h, w], finest first -> logits [B, K, h, w] at the finest."""
        size = levels[0].shape[-2:]
        maps = [
            F.interpolate(project(level), size, mode="bilinear", align_corners=False)
            for project, level in zip(self.project, levels, strict=True)
        ]
        logits: Tensor = self.classify(self.dropout(self.mix(torch.cat(maps, 1))))
        return logits


class DenseSam(TakesRgb):
    """float [B, 3, H, W] in [0, 1] -> logits float32 [B, K, H, W], for any H, W >= 1."""

    def __init__(self, variant: str, num_classes: int, width: int, dropout: float) -> None:
        super().__init__(MEAN, STD)
        # named as in Meta's files; the encoder's weights know no image size
        self.sam = nn.ModuleDict({"image_encoder": sam2(variant, 1024).image_encoder})
        self.head = DenseHead(num_classes, width, dropout)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = pad(self.normalised(image), STRIDE)
        logits = self.head(feature_levels(self.sam["image_encoder"], padded))
        enlarged = F.interpolate(
            logits.float(), padded.shape[-2:], mode="bilinear", align_corners=False
        )
        return enlarged[..., :height, :width]


class Sam2Dense(Backend):
    """v3's schedule, class weights and gradual unfreezing, for a network of its own classes."""

    made_here = ("mean", "std")

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Weights | None:
        return stored.encoder(recipe["model"]["variant"], "").pretrained

    def build(self) -> nn.Module:
        """The recipe's variant with a head for the task's classes; the encoder's weights from the
        hub, Meta's ``.pt`` or a checkpoint of any sam2 backend. Raises RecipeError, WeightsError.
        """
        model = self.recipe["model"]
        width = model["head_width"]
        if width % GROUPS:
            raise RecipeError(f"model.head_width must be a multiple of {GROUPS}, got {width}.")
        net = DenseSam(model["variant"], self.task.num_classes, width, model["head_dropout"])
        what = f"SAM2.1's image encoder '{model['variant']}' with a head for classes"
        load_into(net, self.context, stored.encoder(model["variant"], what))
        return net

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Class-weighted cross-entropy and soft Dice of the known pixels."""
        settings = self.recipe["loss"]
        weights = class_weights(
            settings["class_weights"], self.task.class_names, self.context.class_pixels
        )
        logits = model(batch.image)
        return dense_loss(logits, batch.target, weights, settings, self.task.ignore_index)

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """The blocks of the image encoder."""
        assert isinstance(model, DenseSam)
        return list(model.sam["image_encoder"].trunk.blocks)

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder_stages12``, ``encoder_stages34``, ``encoder_neck`` and ``decoder``, as the
        promptable backends."""
        assert isinstance(model, DenseSam)
        encoder = encoder_groups(model.sam["image_encoder"])
        return {**encoder, "decoder": list(model.head.parameters())}
