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
    for index, one in enumerate(target):
        present = [label for label in classes if bool((one == label).any())]
        for place in torch.randperm(len(present))[:limit]:
            images.append(index)
            chosen.append(present[int(place)])
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
    points, labels = [], []
    for mask, valid in zip(masks, known, strict=True):
        inside, a = _pixels(mask, positives, 1)
        outside, b = _pixels(valid & ~mask, negatives, 0)
        points.append(torch.cat([inside, outside]))
        labels.append(torch.cat([a, b]))
    return torch.stack(points), torch.stack(labels)


def boxes(masks: Tensor, jitter: float = 0.0, limit: float = 0.0) -> tuple[Tensor, Tensor]:
    """Tight boxes of bool [N, H, W] as two corner points; corners move by up to ``jitter`` of the
    side, at most ``limit`` px, and stay inside the image."""
    height, width = masks.shape[-2:]
    corners = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        corners.append(torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]))
    box = torch.stack(corners).float()
    if jitter:
        side = torch.stack([box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]], 1).repeat(1, 2)
        reach = (jitter * side).clamp(max=limit)
        box = box + reach * (2 * torch.rand(box.shape, device=box.device) - 1)
        edge = torch.tensor([width, height, width, height], device=box.device)
        box = torch.minimum(box.clamp(min=0), edge)
    return box.view(-1, 2, 2), torch.tensor([[2, 3]], device=masks.device).expand(len(masks), -1)


def _pixels(mask: Tensor, count: int, label: int) -> tuple[Tensor, Tensor]:
    """``count`` random pixels of a mask [H, W]; padding (label -1) where it has none."""
    places = mask.flatten().nonzero()[:, 0]
    if not len(places):
        return (
            torch.zeros(count, 2, device=mask.device),
            torch.full((count,), -1, device=mask.device),
        )
    flat = places[torch.randint(len(places), (count,), device=mask.device)]
    width = mask.shape[-1]
    xy = torch.stack([flat % width, flat // width], 1).float()
    return xy, torch.full((count,), label, device=mask.device)
