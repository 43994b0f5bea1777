"""Intervals for a new hospital: one institute left out at a time.

ROIs of one institute are alike, so an interval over ROIs is too narrow for another hospital.
Variance (G - 1) / G * sum (D without g - D)^2 over G institutes, t with G - 1 degrees of freedom,
logit scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchbcss.scoring.influence import over_classes, parts_of
from benchbcss.scoring.intervals import (
    FEW,
    NO_SPREAD,
    SAME,
    SINGLE,
    UNDEFINED,
    Bounds,
    Interval,
    Intervals,
    T,
    logit_t,
)
from benchbcss.scoring.limits import LIMITS
from benchbcss.scoring.metrics import Triple, ratio


def institute_intervals(
    triples: Triple | Sequence[Triple],
    institutes: Sequence[str],
    mean_classes: Sequence[int],
    estimand: str,
) -> Intervals:
    """Intervals of Dice per class and of its mean over ``mean_classes``.

    ``triples`` int64 [ROI, C]: one, or one per seed of the same backend; ``institutes`` names that
    of each ROI. ``rois`` and ``effective_rois`` of the result count institutes.
    """
    runs = [triples] if isinstance(triples, Triple) else list(triples)
    sites = sorted(set(institutes))
    groups = np.array([[site == name for site in institutes] for name in sites])
    scores = [left_out(run, groups, estimand) for run in runs]
    point, without, share = (np.mean([score[k] for score in scores], axis=0) for k in range(3))
    rois = (runs[0].true > 0).sum(0)
    point, without, share = (
        np.concatenate([values, over_classes(values, rois, mean_classes)], -1)
        for values in (point[None], without, share)
    )
    defined = int((rois[list(mean_classes)] > 0).sum())
    if not defined:
        point[:, -1] = np.nan
    bounds = institute_bounds(point[0], without, share, estimand)
    rows = [
        _described(float(point[0, c]), without[:, c], share[:, c], bounds, c)
        for c in range(len(rois) + 1)
    ]
    return Intervals(estimand, tuple(rows[:-1]), rows[-1], defined, len(mean_classes))


def left_out(
    triple: Triple, groups: np.ndarray, estimand: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dice per class [..., C]; without each of the ``groups`` bool [G, ROI], [..., G, C], NaN where
    no ROI with the class is left; and each group's share of the ROIs with the class [..., G, C]."""
    top, bottom, rois = parts_of(triple, estimand)
    keep = (~groups).astype(np.float64)
    present = (triple.true > 0).astype(np.float64)
    without = np.where(keep @ present > 0, ratio(keep @ top, keep @ bottom), np.nan)
    point = np.where(rois > 0, ratio(top.sum(-2), bottom.sum(-2)), np.nan)
    share = (groups.astype(np.float64) @ present) / np.maximum(1, rois)[..., None, :]
    return point, without, share


def effective_institutes(share: np.ndarray) -> np.ndarray:
    """float64 [..., C]: 1 / sum of squared shares [..., G, C]; 0 where the class is absent."""
    squares = (share**2).sum(-2)
    return np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)


def institute_bounds(
    point: np.ndarray, without: np.ndarray, share: np.ndarray, estimand: str
) -> Bounds:
    """Intervals of ``point`` [..., C] from the scores without each institute and the institutes'
    shares [..., G, C]; withheld where few institutes have very unequal numbers of ROIs."""
    number = without.shape[-2]
    squares = ((without - point[..., None, :]) ** 2).sum(-2)
    error = np.sqrt((number - 1) / number * np.nan_to_num(squares))
    effective = effective_institutes(share)
    uneven = effective < LIMITS.evenness_of_institutes[estimand] * number
    code = np.select(
        [
            ~np.isfinite(point),
            ~np.isfinite(squares) | (number < 2),
            uneven & (effective < LIMITS.many_institutes),
            (point == 0) | (point == 1) | (error < NO_SPREAD),
        ],
        [UNDEFINED, SINGLE, FEW, SAME],
        0,
    )
    degrees = np.full(point.shape, float(max(1, number - 1)))
    low, high = logit_t(point, error, degrees)
    return Bounds(
        np.where(code == 0, low, np.nan), np.where(code == 0, high, np.nan), degrees, code
    )


def _described(
    point: float, without: np.ndarray, share: np.ndarray, bounds: Bounds, c: int
) -> Interval:
    number = len(without)
    effective = float(effective_institutes(share[:, None])[0])
    code = int(bounds.code[c])
    reason = {
        UNDEFINED: "no ground truth of it in the scored ROIs",
        SINGLE: "all ROIs are from one institute"
        if number < 2
        else "all ROIs that have it, or a class that is in the mean, are from one institute",
        FEW: f"its ROIs are spread unevenly over {number} institutes (effectively "
        f"{effective:.1f}), too few for that",
        SAME: "the score is 0, 1 or the same without any institute, so there is no spread to "
        "measure",
    }.get(code)
    if reason:
        value = None if code == UNDEFINED else point
        return Interval(value, None, None, number, effective, reason=reason)
    error = float(np.sqrt((number - 1) / number * ((without - point) ** 2).sum()))
    low, high = float(bounds.low[c]), float(bounds.high[c])
    return Interval(point, low, high, number, effective, error, float(number - 1), T)
