"""Stitched inference: overlapping tiles, Gaussian blending, bands flushed as they complete.

Only one row of tiles is held in memory: once the next row of tiles starts lower, the lines
above it can no longer change and become labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbcss.errors import NonFiniteError, PluginError
from benchbcss.inference.views import to_float


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of tiles that cover ``length``; the last one ends flush."""
    if length <= tile:
        return [0]
    stride = max(1, tile - overlap)
    positions = list(range(0, length - tile, stride))
    return [*positions, length - tile]


def gaussian(tile: int) -> Tensor:
    """Blending weights float32 [tile, tile]: sigma is an eighth of the side, at least 1e-3 so
    that corners count (both as MONAI's sliding_window_inference has them)."""
    axis = torch.arange(tile, dtype=torch.float32) - (tile - 1) / 2
    weights = torch.exp(-0.5 * (axis / (tile / 8)) ** 2)
    return (weights[:, None] * weights).clamp_min(1e-3)


def predict_tiled(
    predict: Callable[[Tensor], Tensor], image: np.ndarray, num_classes: int, **settings: Any
) -> np.ndarray:
    """Label map uint8 [H, W] of ``image`` uint8 [H, W, 3]; ``settings`` as of ``blended``."""
    labels = np.empty(image.shape[:2], np.uint8)
    for top, scores in blended(predict, image, num_classes, **settings):
        # The weights' sum is common to all classes, so the largest weighted sum wins as it is;
        # max's indices are several times faster than argmax here.
        band_labels = scores.max(0).indices.byte().cpu().numpy()
        rows = labels[top : top + len(band_labels)]
        rows[:] = band_labels[: len(rows), : image.shape[1]]
    return labels


def blended(
    predict: Callable[[Tensor], Tensor],
    image: np.ndarray,
    num_classes: int,
    *,
    tile: int,
    overlap: int,
    batch: int = 1,
    device: torch.device | str = "cpu",
    accumulate: torch.dtype = torch.float32,
) -> Iterator[tuple[int, Tensor]]:
    """(first row, weighted sums of logits [K, rows, W]) of finished bands, from top to bottom.

    ``predict`` maps float32 [B, 3, tile, tile] to logits [B, K, tile, tile]. ROIs smaller than a
    tile are padded by their edge. Raises PluginError for wrong shapes and non-finite logits.
    """
    padded = _pad(image, tile)
    rows = starts(padded.shape[0], tile, overlap)
    columns = starts(padded.shape[1], tile, overlap)
    weights = gaussian(tile).to(device, accumulate)
    band = torch.zeros(num_classes, tile, padded.shape[1], device=device, dtype=accumulate)
    for index, top in enumerate(rows):
        for first in range(0, len(columns), batch):
            lefts = columns[first : first + batch]
            crops = [to_float(padded[top : top + tile, left : left + tile]) for left in lefts]
            logits = checked(predict(torch.stack(crops).to(device)), len(lefts), num_classes, tile)
            for left, tile_logits in zip(lefts, logits, strict=True):
                band[:, :, left : left + tile] += tile_logits.to(accumulate) * weights
        done = (rows[index + 1] - top) if index + 1 < len(rows) else tile
        yield top, band[:, :done]
        kept = band[:, done:].clone()
        band[:, : tile - done] = kept
        band[:, tile - done :] = 0


def checked(logits: Tensor, count: int, num_classes: int, tile: int) -> Tensor:
    """The logits as float32, or a PluginError that says what is wrong with them."""
    expected = (count, num_classes, tile, tile)
    if tuple(logits.shape) != expected:
        raise PluginError(f"predict returned shape {tuple(logits.shape)}, expected {expected}")
    if not logits.is_floating_point():
        raise PluginError(f"predict returned {logits.dtype}, expected logits as float")
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError("predict returned NaN or infinite logits")
    return logits.float()


def _pad(image: np.ndarray, tile: int) -> np.ndarray:
    bottom, right = max(0, tile - image.shape[0]), max(0, tile - image.shape[1])
    if not bottom and not right:
        return image
    return np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
