"""Intervals for a new hospital: one institute left out at a time.

ROIs of one institute are alike, so an interval over ROIs is too narrow for another hospital.
Variance (G - 1) / G * sum (D without g - D)^2 over the G institutes that have the class, t with
G - 1 degrees of freedom, logit scale.
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
    point = np.mean([score[0] for score in scores], axis=0)
    without = np.mean([score[1] for score in scores], axis=0)
    having = scores[0][2]
    rois = (runs[0].true > 0).sum(0)
    chosen = [c for c in mean_classes if rois[c]]
    point = np.append(point, point[chosen].mean() if chosen else np.nan)
    without = np.column_stack([without, over_classes(without, rois, mean_classes)])
    having = np.append(having, having[chosen].max() if chosen else 0)
    effective = effective_institutes(groups)
    bounds = institute_bounds(point, without, having, groups, estimand)
    rows = [
        _described(float(point[c]), without[:, c], int(having[c]), effective, bounds, c)
        for c in range(len(point))
    ]
    return Intervals(estimand, tuple(rows[:-1]), rows[-1], len(chosen), len(mean_classes))


def left_out(
    triple: Triple, groups: np.ndarray, estimand: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dice per class [..., C]; without each of the ``groups`` bool [G, ROI], [..., G, C], NaN where
    no ROI with the class is left; and int64 [..., C], how many groups have the class."""
    top, bottom, rois = parts_of(triple, estimand)
    keep = (~groups).astype(np.float64)
    present = (triple.true > 0).astype(np.float64)
    without = np.where(keep @ present > 0, ratio(keep @ top, keep @ bottom), np.nan)
    point = np.where(rois > 0, ratio(top.sum(-2), bottom.sum(-2)), np.nan)
    return point, without, (groups.astype(np.float64) @ present > 0).sum(-2)


def effective_institutes(groups: np.ndarray) -> float:
    """1 / sum of squared shares of the ROIs, over ``groups`` bool [G, ROI]."""
    sizes = groups.sum(1)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def institute_bounds(
    point: np.ndarray,
    without: np.ndarray,
    having: np.ndarray,
    groups: np.ndarray,
    estimand: str,
) -> Bounds:
    """Intervals of ``point`` [..., C] from the scores without each institute [..., G, C].

    ``having`` [..., C] institutes have the class. Withheld where few institutes have unequal
    numbers of ROIs.
    """
    squares = ((without - point[..., None, :]) ** 2).sum(-2)
    number = np.maximum(1, having)
    error = np.sqrt((number - 1) / number * np.nan_to_num(squares))
    effective = effective_institutes(groups)
    uneven = effective < LIMITS.evenness_of_institutes[estimand] * len(groups)
    withheld = uneven and effective < LIMITS.many_institutes
    code = np.select(
        [
            ~np.isfinite(point),
            ~np.isfinite(squares) | (having < 2),
            np.full(point.shape, withheld),
            (point == 0) | (point == 1) | (error < NO_SPREAD),
        ],
        [UNDEFINED, SINGLE, FEW, SAME],
        0,
    )
    degrees = np.maximum(1.0, number - 1.0)
    low, high = logit_t(point, error, degrees)
    return Bounds(
        np.where(code == 0, low, np.nan), np.where(code == 0, high, np.nan), degrees, code
    )


def _described(
    point: float, without: np.ndarray, having: int, effective: float, bounds: Bounds, c: int
) -> Interval:
    code = int(bounds.code[c])
    reason = {
        UNDEFINED: "no ground truth of it in the scored ROIs",
        SINGLE: "all ROIs are from one institute"
        if len(without) < 2
        else "all ROIs that have it, or a class that is in the mean, are from one institute",
        FEW: f"the ROIs are spread unevenly over {len(without)} institutes (effectively "
        f"{effective:.1f}), too few for that",
        SAME: "the score is 0, 1 or the same without any institute, so there is no spread to "
        "measure",
    }.get(code)
    if reason:
        value = None if code == UNDEFINED else point
        return Interval(value, None, None, having, effective, reason=reason)
    error = float(np.sqrt((having - 1) / having * ((without - point) ** 2).sum()))
    low, high = float(bounds.low[c]), float(bounds.high[c])
    return Interval(point, low, high, having, effective, error, float(bounds.degrees[c]), T)
