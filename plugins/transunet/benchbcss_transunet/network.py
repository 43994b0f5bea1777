"""TransUNet (Chen et al. 2021): CNN stages give the skips, a ViT reads the deepest of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchbcss.inference.networks import TakesRgb
from benchbcss.inference.views import pad

STRIDE = 16


class TransUNet(TakesRgb):
    """float [B, 3, H, W] in [0, 1] -> logits float [B, K, H, W], for any H, W >= 1.

    ``vit`` is a timm hybrid whose patch embedding is a ResNetV2 up to stride 16, built with
    ``dynamic_img_size`` so that its position embeddings are resampled to the tile.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        num_classes: int,
        widths: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(mean, std)
        self.vit = vit
        backbone = vit.patch_embed.backbone
        stages = [stage.blocks[-1].conv3.out_channels for stage in backbone.stages]
        skips = [stages[1], stages[0], backbone.stem.conv.out_channels, 0]
        self.widen = _conv(vit.embed_dim, 2 * widths[0])
        inputs = [2 * widths[0], *widths[:-1]]
        self.up = nn.ModuleList(
            nn.Sequential(_conv(before + skip, after), _conv(after, after))
            for before, skip, after in zip(inputs, skips, widths, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], num_classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x = pad(self.normalised(image), STRIDE)
        backbone = self.vit.patch_embed.backbone
        half = backbone.stem.norm(backbone.stem.conv(x))
        quarter = backbone.stages[0](backbone.stem.pool(half))
        eighth = backbone.stages[1](quarter)
        deepest = backbone.norm(backbone.stages[2](eighth))
        x = self.widen(self._transform(deepest))
        for block, skip in zip(self.up, (eighth, quarter, half, None), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(x if skip is None else torch.cat([x, skip], 1))
        return self.head(x)[..., :height, :width]

    def _transform(self, features: Tensor) -> Tensor:
        """CNN features [B, C, h, w] -> transformed tokens as a map [B, D, h, w]."""
        tokens = self.vit.patch_embed.proj(features)
        rows, columns = tokens.shape[-2:]
        x = self.vit._pos_embed(tokens.permute(0, 2, 3, 1))
        x = self.vit.norm(self.vit.blocks(self.vit.norm_pre(x)))
        x = x[:, self.vit.num_prefix_tokens :]
        return x.transpose(1, 2).unflatten(2, (rows, columns))


def _conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(True)
    )
