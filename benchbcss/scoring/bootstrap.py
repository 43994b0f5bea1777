"""Intervals by resampling ROIs: one ROI is one patient, so the ROI is what is drawn.

The resamples depend on the seed and the number of ROIs alone, so every backend of a suite is
judged on the same draws. Percentile intervals at 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Intervals:
    """95 % intervals per class (None where undefined) and of the mean; ``dropped`` is the share
    of draws that missed the class."""

    classes: list[tuple[float, float] | None]
    mean: tuple[float, float] | None
    dropped: list[float]


def draws_of(triple: Triple, estimand: str) -> np.ndarray:
    """float64 [draws, C]: Dice per class of every resample; NaN where the class was not drawn."""
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


def bootstrap(triple: Triple, mean_classes: Sequence[int], estimand: str) -> Intervals:
    """Intervals for ``estimand`` 'pooled' or 'per_roi'.

    The mean uses the draws that hold every class the point estimate holds. With one ROI, or too
    few usable draws, there is no interval.
    """
    drawn = draws_of(triple, estimand)
    known = np.isfinite(drawn)
    present = [c for c in mean_classes if triple.true[:, c].any()]
    usable = known[:, present].all(1)
    mean = drawn[usable][:, present].mean(1) if present else np.empty(0)
    single = triple.hit.shape[0] < 2
    return Intervals(
        [None if single else interval(drawn[known[:, c], c]) for c in range(drawn.shape[1])],
        None if single else interval(mean),
        [float(1 - known[:, c].mean()) for c in range(drawn.shape[1])],
    )


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of the usable draws; None where they are too few."""
    if len(values) < _FEWEST:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def effective_rois(areas: np.ndarray) -> float:
    """(sum a)^2 / sum a^2 over a class's areas per ROI: how many ROIs a pooled value rests on."""
    areas = np.asarray(areas, np.float64)
    squares = float((areas**2).sum())
    return float(areas.sum()) ** 2 / squares if squares else 0.0
