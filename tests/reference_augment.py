"""Augmentation as it was before recipes named transforms: one function in one fixed order.

Kept as an oracle: the mapping form of ``train.augment`` must give the same samples to the bit.
One thing was mended here too: stain concentrations shift by beta, which had a hidden factor of 0.1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from benchbcss.contract import IGNORE
from benchbcss.recipes import Augment, Elastic, Stain

# Rows: haematoxylin, eosin, and their cross product (Ruifrok and Johnston 2001), unit length.
_STAINS = torch.nn.functional.normalize(
    torch.tensor([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [-0.209, -0.048, 0.593]]), dim=1
)
_WHITE = 0.94  # what lies outside a tile: slide background


def augment(
    image: Tensor, target: Tensor, settings: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """image float [3, H, W] in [0, 1], target int [H, W] -> the same, transformed."""

    def draw() -> float:
        return float(torch.rand((), generator=generator))

    def between(low: float, high: float) -> float:
        return low + (high - low) * draw()

    target = target[None]
    if settings.flips:
        if draw() < 0.5:
            image, target = image.flip(-1), target.flip(-1)
        if draw() < 0.5:
            image, target = image.flip(-2), target.flip(-2)
    if settings.rot90 and image.shape[-1] == image.shape[-2]:
        turns = int(4 * draw())
        image, target = image.rot90(turns, (-2, -1)), target.rot90(turns, (-2, -1))
    if settings.rotate:
        image, target = _rotate(image, target, between(-settings.rotate, settings.rotate))
    if settings.elastic and draw() < settings.elastic.p:
        image, target = _elastic(image, target, settings.elastic, generator)
    if settings.stain:
        image = perturb_stain(image, settings.stain, generator)
    if settings.color_jitter:
        reach = settings.color_jitter
        image = F.adjust_brightness(image, between(1 - reach, 1 + reach))
        image = F.adjust_contrast(image, between(1 - reach, 1 + reach))
        image = F.adjust_saturation(image, between(1 - reach, 1 + reach))
        image = F.adjust_hue(image, between(-reach, reach) / 4)
    if settings.blur and draw() < settings.blur.p:
        sigma = between(*settings.blur.sigma)
        size = 2 * math.ceil(2 * sigma) + 1
        image = F.gaussian_blur(image, [size, size], [sigma, sigma])
    return image.clamp(0, 1).contiguous(), target[0].contiguous()


def perturb_stain(image: Tensor, settings: Stain, generator: torch.Generator) -> Tensor:
    """Scale and shift each stain's concentration; white stays white. float [3, H, W]."""
    density = -torch.log(image.clamp(1 / 255, 1))
    stains = _STAINS.to(image)
    concentration = torch.einsum("chw,cs->shw", density, torch.linalg.inv(stains))
    scale = 1 + settings.alpha * (2 * torch.rand(3, generator=generator) - 1)
    shift = settings.beta * (2 * torch.rand(3, generator=generator) - 1)
    # The shift follows the amount of tissue, so that background keeps its colour.
    tissue = (density.mean(0, keepdim=True) / 0.2).clamp(0, 1)
    moved = concentration * scale[:, None, None] + shift[:, None, None] * tissue
    return torch.exp(-torch.einsum("shw,sc->chw", moved, stains)).clamp(0, 1)


def _rotate(image: Tensor, target: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    turned = F.rotate(image, angle, InterpolationMode.BILINEAR, fill=[_WHITE])
    labels = F.rotate(target, angle, InterpolationMode.NEAREST, fill=[IGNORE])
    return turned, labels


def _elastic(
    image: Tensor, target: Tensor, settings: Elastic, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    height, width = image.shape[-2:]
    noise = 2 * torch.rand(2, 1, height, width, generator=generator) - 1
    size = 2 * math.ceil(3 * settings.sigma) + 1
    size = min(size, 2 * (min(height, width) // 2) - 1)
    smooth = F.gaussian_blur(noise, [size, size], [settings.sigma, settings.sigma])
    # torchvision counts displacement in half image sides.
    scale = torch.tensor([2 / width, 2 / height])
    displacement = settings.alpha * smooth.permute(1, 2, 3, 0) * scale
    options: dict[str, Any] = {"displacement": displacement}
    moved = F.elastic(image, interpolation=InterpolationMode.BILINEAR, fill=[_WHITE], **options)
    labels = F.elastic(target, interpolation=InterpolationMode.NEAREST, fill=[IGNORE], **options)
    return moved, labels
