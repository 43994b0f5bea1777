"""Training prompts: objects drawn from an image's classes, each with a box or with clicks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def draw_objects(target: Tensor, classes: tuple[int, ...], limit: int) -> tuple[Tensor, Tensor]:
    """Up to ``limit`` classes present in each image of ``target`` int64 [B, H, W], at random.

    Returns (image index int64 [N], class int64 [N]).
    """
    images, chosen = [], []
    # asked of all images and classes at once, since every answer waits for the device
    has = [(target == label).flatten(1).any(1) for label in classes]
    for index, holds in enumerate(torch.stack(has, 1).tolist()):
        present = [label for label, there in zip(classes, holds, strict=True) if there]
        for place in torch.randperm(len(present))[:limit].tolist():
            images.append(index)
            chosen.append(present[place])
    device = target.device
    return torch.tensor(images, device=device).long(), torch.tensor(chosen, device=device).long()


def draw_prompts(masks: Tensor, known: Tensor, settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """One kind of prompt for all objects of a step: boxes, or one to a few clicks.

    ``masks`` and ``known`` bool [N, H, W], every mask with a pixel. Returns points float32
    [N, P, 2] (x, y) and labels int64 [N, P], padded with -1.
    """
    if float(torch.rand(())) < settings["box"]:
        return boxes(masks, settings["jitter"], settings["jitter_px"])
    positives = 1 + int(torch.randint(settings["positives"], ()))
    negatives = int(torch.randint(settings["negatives"] + 1, ()))
    sides = [_Pixels(masks), _Pixels(known & ~masks)]
    # the sizes of all of them at once, since asking waits for the device
    sizes = torch.stack([side.sizes for side in sides], 1).tolist()
    points, labels = [], []
    for index, (inside, outside) in enumerate(sizes):
        xy, a = sides[0].draw(index, inside, positives, 1)
        more, b = sides[1].draw(index, outside, negatives, 0)
        points.append(torch.cat([xy, more]))
        labels.append(torch.cat([a, b]))
    return torch.stack(points), torch.stack(labels)


def boxes(masks: Tensor, jitter: float = 0.0, limit: float = 0.0) -> tuple[Tensor, Tensor]:
    """Tight boxes of bool [N, H, W] as two corner points; corners move by up to ``jitter`` of the
    side, at most ``limit`` px, and stay inside the image."""
    height, width = masks.shape[-2:]
    rows, columns = masks.any(2).long(), masks.any(1).long()
    # argmax is the first of the largest
    first = [side.argmax(1) for side in (columns, rows)]
    last = [side.shape[1] - side.flip(1).argmax(1) for side in (columns, rows)]
    box = torch.stack([*first, *last], 1).float()
    if jitter:
        side = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], 1).repeat(1, 2)
        reach = (jitter * side).clamp(max=limit)
        box = box + reach * (2 * torch.rand(box.shape, device=box.device) - 1)
        edge = torch.tensor([width, height, width, height], device=box.device)
        box = torch.minimum(box.clamp(min=0), edge)
    return box.view(-1, 2, 2), torch.tensor([[2, 3]], device=masks.device).expand(len(masks), -1)


class _Pixels:
    """The pixels of masks bool [N, H, W], drawn from without a look at them from the host."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self.sizes = masks.flatten(1).sum(1)

    def draw(self, index: int, size: int, count: int, label: int) -> tuple[Tensor, Tensor]:
        """``count`` random pixels of the mask ``index``, which has ``size``; padding (label -1)
        where it has none."""
        device = self.masks.device
        if not size:
            return torch.zeros(count, 2, device=device), torch.full((count,), -1, device=device)
        # the k-th pixel is the first of rank k
        ranks = self.masks[index].flatten().cumsum(0, dtype=torch.int32)
        rank = torch.randint(size, (count,), device=device) + 1
        flat = torch.searchsorted(ranks, rank.int())
        width = self.masks.shape[-1]
        xy = torch.stack([flat % width, flat // width], 1).float()
        return xy, torch.full((count,), label, device=device)
