"""Heads that turn an encoder's maps into logits of classes."""

from __future__ import annotations

from typing import Any

import torch
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss.errors import RecipeError
from benchbcss_hf.encoders import Encoder

KINDS = ("linear", "fpn", "unetpp")
_LEVELS = 4  # of the pyramid that a plain ViT's maps are turned into
_HALVINGS = [2, 4, 8, 16, 32]
_GROUPS = 8


class Linear(nn.Module):
    """One linear layer per pixel of the maps, side by side at the finest size: the usual probe."""

    def __init__(self, channels: list[int], classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(sum(channels), classes, 1)

    def forward(self, maps: list[Tensor], image: Tensor) -> Tensor:
        size = maps[0].shape[-2:]
        logits: Tensor = self.classify(torch.cat([_resized(one, size) for one in maps], 1))
        return logits


class Pyramid(nn.Module):
    """A feature pyramid on a plain ViT: of four of its maps, the shallowest is enlarged four
    times, the next twice, the third kept and the deepest halved (BEiT, Bao et al. 2021); each is
    projected, added to the coarser ones (Lin et al. 2017) and smoothed, and their sum classified.
    """

    def __init__(self, channels: list[int], classes: int, width: int) -> None:
        super().__init__()
        first, second, third, last = channels
        self.scale = nn.ModuleList(
            [
                nn.Sequential(_up(first), nn.GELU(), _up(first)),
                _up(second),
                nn.Identity(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        )
        self.project = nn.ModuleList(nn.Conv2d(n, width, 1) for n in (first, second, third, last))
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.GroupNorm(_GROUPS, width),
                nn.GELU(),
            )
            for _ in range(_LEVELS)
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: list[Tensor], image: Tensor) -> Tensor:
        levels = [
            project(scale(one))
            for project, scale, one in zip(self.project, self.scale, maps, strict=True)
        ]
        for fine in range(_LEVELS - 2, -1, -1):
            levels[fine] = levels[fine] + _resized(levels[fine + 1], levels[fine].shape[-2:])
        size = levels[0].shape[-2:]
        smooth = [_resized(s(level), size) for s, level in zip(self.smooth, levels, strict=True)]
        logits: Tensor = self.classify(torch.stack(smooth).sum(0))
        return logits


class UnetPlusPlus(nn.Module):
    """The U-Net++ decoder (Zhou et al. 2018) of segmentation-models-pytorch."""

    def __init__(self, channels: list[int], classes: int, widths: list[int]) -> None:
        super().__init__()
        self.decoder = UnetPlusPlusDecoder([3, *channels], widths, n_blocks=len(widths))
        self.classify = nn.Conv2d(widths[-1], classes, 3, padding=1)

    def forward(self, maps: list[Tensor], image: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.decoder([image, *maps]))
        return logits


def make(encoder: Encoder, classes: int, settings: dict[str, Any]) -> nn.Module:
    """The head ``settings['kind']`` on an encoder; called with its maps and the image, it gives
    logits [B, K, h, w] of some size. Raises RecipeError for one that does not go with the other."""
    kind = settings["kind"]
    if kind not in KINDS:
        raise RecipeError(f"model.head.kind: there is no '{kind}'. Known: {', '.join(KINDS)}.")
    if kind == "linear":
        return Linear(encoder.channels, classes)
    if kind == "fpn":
        if len(encoder.channels) != _LEVELS:
            raise RecipeError(
                f"model.head.kind=fpn needs model.head.layers={_LEVELS}, got {settings['layers']}."
            )
        if settings["width"] % _GROUPS:
            raise RecipeError(
                f"model.head.width must be a multiple of {_GROUPS}, got {settings['width']}."
            )
        return Pyramid(encoder.channels, classes, settings["width"])
    if encoder.strides != _HALVINGS:
        raise RecipeError(
            f"model.head.kind=unetpp needs an encoder with a stage at every halving, such as "
            f"resnet50; this one has strides {encoder.strides}."
        )
    widths = list(settings["decoder_channels"])
    if len(widths) != len(_HALVINGS):
        raise RecipeError(f"model.head.decoder_channels needs {len(_HALVINGS)} widths: {widths}.")
    return UnetPlusPlus(encoder.channels, classes, widths)


def _resized(one: Tensor, size: Any) -> Tensor:
    if one.shape[-2:] == size:  # the same bits, in less time
        return one
    return F.interpolate(one, size, mode="bilinear", align_corners=False)


def _up(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2)
