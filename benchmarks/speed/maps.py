"""Label maps to score: regions like tissue's, and a prediction that is nearly right or noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

CLASSES = 5  # scored; one more label is the rest
REGION = 60  # px; the width of a region, in a fine-grained part of a slide


@lru_cache(maxsize=4)
def pair(
    megapixels: float, noise: bool = False, labels: int = CLASSES + 1
) -> tuple[np.ndarray, np.ndarray]:
    """(target, prediction) uint8 [H, W], square; with ``noise`` every predicted pixel is drawn by
    itself. A frame of 24 px has the label that is not scored: peers know no border of an image."""
    rng = np.random.default_rng(0)
    side = round((megapixels * 1e6) ** 0.5)
    truth, error = _fields(rng, side, labels, REGION), _fields(rng, side, labels, REGION / 3)
    target = _highest(truth, side)
    prediction = _highest([t + 0.35 * e for t, e in zip(truth, error, strict=True)], side)
    if noise:
        prediction = rng.integers(0, labels, target.shape, dtype=np.uint8)
    for drawn in (target, prediction):
        for frame in (drawn[:24], drawn[-24:], drawn[:, :24], drawn[:, -24:]):
            frame[:] = labels - 1
        drawn.setflags(write=False)
    return target, prediction


def _fields(rng: np.random.Generator, side: int, labels: int, width: float) -> list[np.ndarray]:
    """A smooth random field for each label, at an eighth of the resolution."""
    fields = []
    for _ in range(labels):
        drawn = rng.standard_normal((side // 8 + 2, side // 8 + 2)).astype(np.float32)
        smooth = cv2.GaussianBlur(drawn, (0, 0), width / 8)
        fields.append(smooth / smooth.std())
    return fields


def _highest(fields: list[np.ndarray], side: int) -> np.ndarray:
    """The label whose field is highest, one enlarged field in memory at a time."""
    best = np.full((side, side), -np.inf, np.float32)
    labels = np.zeros((side, side), np.uint8)
    for label, drawn in enumerate(fields):
        large = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_LINEAR)
        labels[large > best] = label
        np.maximum(best, large, out=best)
    return labels
