"""Intervals by resampling ROIs: one ROI is one patient, so the ROI is what is drawn.

The resamples depend on the seed and the number of ROIs alone, so every backend of a suite is
judged on the same draws. Percentile intervals at 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

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
    """95 % percentile intervals per class (None where undefined) and of the mean; the same by BCa;
    ``dropped`` is the share of draws that missed the class."""

    classes: list[tuple[float, float] | None]
    mean: tuple[float, float] | None
    dropped: list[float]
    classes_bca: list[tuple[float, float] | None]
    mean_bca: tuple[float, float] | None


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


def bootstrap(triple: Triple, mean_classes: Sequence[int], estimand: str) -> Intervals:
    """Intervals for ``estimand`` 'pooled' or 'per_roi'.

    The mean uses the draws that hold every class the point estimate holds. With one ROI, or too
    few usable draws, there is no interval.
    """
    rois, classes = triple.hit.shape
    drawn = draws_of(triple, estimand)
    present = [c for c in mean_classes if triple.true[:, c].any()]
    mean = mean_of(drawn, present)
    usable = np.isfinite(mean)
    if rois < 2:
        none: list[tuple[float, float] | None] = [None] * classes
        return Intervals(none, None, [0.0] * classes, none, None)
    left_out = draws_of(triple, estimand, 1.0 - np.eye(rois))
    whole = draws_of(triple, estimand, np.ones((1, rois)))
    known = [np.isfinite(drawn[:, c]) for c in range(classes)]
    return Intervals(
        [interval(drawn[known[c], c]) for c in range(classes)],
        interval(mean[usable]),
        [float(1 - known[c].mean()) for c in range(classes)],
        [bca(drawn[known[c], c], whole[0, c], left_out[:, c]) for c in range(classes)],
        bca(mean[usable], mean_of(whole, present)[0], mean_of(left_out, present)),
    )


def institute_interval(
    triple: Triple, institutes: Sequence[str], mean_classes: Sequence[int], estimand: str
) -> tuple[float, float] | None:
    """95 % interval of the mean when whole institutes are resampled: wider, and the honest one for
    a new hospital. None with a single institute."""
    names = sorted(set(institutes))
    if len(names) < 2:
        return None
    belongs = np.array([[site == name for site in institutes] for name in names], np.float64)
    weights = resample_weights(len(names)) @ belongs
    present = [c for c in mean_classes if triple.true[:, c].any()]
    drawn = mean_of(draws_of(triple, estimand, weights), present)
    return interval(drawn[np.isfinite(drawn)])


def mean_of(drawn: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """float64 [draws]: the mean of ``classes``, NaN where one of them was not drawn."""
    if not len(classes):
        return np.full(len(drawn), np.nan)
    means: np.ndarray = drawn[:, list(classes)].mean(1)
    return means


def bca(values: np.ndarray, point: float, left_out: np.ndarray) -> tuple[float, float] | None:
    """Bias-corrected and accelerated 95 % interval (Efron 1987).

    ``values`` are usable draws, ``left_out`` the estimate without each ROI in turn. None where it
    is not defined: too few draws, all on one side of the point, or leaving one ROI out changes
    nothing or removes the class.
    """
    if len(values) < _FEWEST or not np.isfinite(left_out).all() or not np.isfinite(point):
        return None
    below = ((values < point).sum() + 0.5 * (values == point).sum()) / len(values)
    if not 0 < below < 1:
        return None
    gaps = left_out.mean() - left_out
    spread = float((gaps**2).sum())
    if spread == 0:
        return None
    bias = ndtri(below)
    acceleration = float((gaps**3).sum()) / (6 * spread**1.5)
    tails = bias + ndtri(np.array([0.025, 0.975]))
    shares = ndtr(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(values, shares)
    return float(low), float(high)


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
