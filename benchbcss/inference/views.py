"""How a model sees an ROI: natively, or squashed to a square."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def to_float(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] -> float32 [3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)


def squash(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [size, size, 3] by area interpolation (bilinear to enlarge)."""
    height = len(image)
    if min(image.shape[:2]) >= size:
        # row by row: as float32 a large ROI would take a gigabyte, several times
        small = torch.empty(3, size, size)  # at once: rows kept one by one would split the heap
        for row in range(size):
            strip = image[row * height // size : -(-(row + 1) * height // size)]
            small[:, row] = F.interpolate(to_float(strip)[None], (1, size), mode="area")[0, :, 0]
    else:
        whole = to_float(image)[None]
        small = F.interpolate(whole, (size, size), mode="bilinear", align_corners=False)[0]
    return small.mul_(255).round_().byte().permute(1, 2, 0).numpy()


def pad(image: Tensor, stride: int) -> Tensor:
    """[..., H, W] extended at bottom and right to multiples of ``stride``: mirrored, so that no
    edge appears. For networks that halve their input."""
    height, width = image.shape[-2:]
    down, right = -height % stride, -width % stride
    if not (down or right):
        return image
    # a mirror cannot be longer than the image itself
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(image, (0, right, 0, down), mode=mode)


def squash_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W] -> uint8 ``shape`` by nearest pixel centres."""
    rows = ((np.arange(shape[0]) + 0.5) * labels.shape[0] / shape[0]).astype(np.int64)
    columns = ((np.arange(shape[1]) + 0.5) * labels.shape[1] / shape[1]).astype(np.int64)
    return labels[rows[:, None], columns]


VIEWS = ("identity", "h-flip", "v-flip", "rot90")  # averaged by test-time augmentation


def turn(image: Tensor, view: str) -> Tensor:
    """[..., S, S] as ``view`` shows it."""
    if view == "h-flip":
        return image.flip(-1)
    if view == "v-flip":
        return image.flip(-2)
    return image.rot90(1, (-2, -1)) if view == "rot90" else image


def turn_back(scores: Tensor, view: str) -> Tensor:
    """The inverse of ``turn``."""
    return scores.rot90(-1, (-2, -1)) if view == "rot90" else turn(scores, view)


def turn_point(x: float, y: float, size: float, view: str) -> tuple[float, float]:
    """Where (x, y) of a square of ``size`` lies in ``view``."""
    if view == "h-flip":
        return size - x, y
    if view == "v-flip":
        return x, size - y
    return (y, size - x) if view == "rot90" else (x, y)


def enlarge(scores: Tensor, shape: tuple[int, int]) -> Tensor:
    """Scores or logits [N, h, w] -> [N, H, W], bilinear."""
    if scores.shape[-2:] == shape:
        return scores
    return F.interpolate(scores[None].float(), shape, mode="bilinear", align_corners=False)[0]
