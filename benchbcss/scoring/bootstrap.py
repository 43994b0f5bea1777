"""Resampling ROIs, for the ranks that a comparison shows: one ROI is one patient.

The resamples depend on the seed and the number of ROIs alone, so every backend of a suite is
judged on the same draws. Intervals of scores come from ``intervals``, not from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from benchbcss.scoring.metrics import Triple, dice_of, ratio

DRAWS = 10_000
SEED = 0
_FEWEST = 200  # usable draws below which no interval is given


@lru_cache(maxsize=8)
def resample_weights(rois: int, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """float64 [draws, ROI]: how often each ROI is in each resample."""
    rng = np.random.default_rng(seed)
    weights: np.ndarray = rng.multinomial(rois, np.full(rois, 1 / rois), draws).astype(np.float64)
    weights.setflags(write=False)
    return weights


def draws_of(triple: Triple, estimand: str, weights: np.ndarray | None = None) -> np.ndarray:
    """float64 [draws, C]: Dice per class of every resample; NaN where the class was not drawn.

    ``weights`` [draws, ROI] says how often each ROI counts (default: the shared resamples)."""
    if weights is None:
        weights = resample_weights(triple.hit.shape[0])
    if estimand == "pooled":
        hit, true, predicted = (
            weights @ part.astype(np.float64)
            for part in (triple.hit, triple.true, triple.predicted)
        )
        return np.where(true > 0, ratio(2 * hit, true + predicted), np.nan)
    dice = dice_of(triple)
    known = np.isfinite(dice)
    return ratio(weights @ np.where(known, dice, 0.0), weights @ known.astype(np.float64))


def mean_of(drawn: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """float64 [draws]: the mean of ``classes``, NaN where one of them was not drawn."""
    if not len(classes):
        return np.full(len(drawn), np.nan)
    means: np.ndarray = drawn[:, list(classes)].mean(1)
    return means
