"""Intervals for a new hospital: one institute left out at a time.

ROIs of one institute are alike, so an interval over ROIs is too narrow for another hospital.
Variance (G - 1) / G * sum (D without g - D)^2 over the G institutes that have the class, logit
scale, t with 1 / sum h_g^2 - 1 degrees of freedom, where h_g is the institute's share of the
denominator of the score: the construction for ROIs with the institute as the unit. G - 1 degrees
are too many where institutes differ in size (coverage in METHODOLOGY.md and ``intervals.yaml``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbcss.scoring.influence import effective_size, over_classes, parts_of
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

_ROUNDING = (
    1e-9  # three institutes of equal size are three, whatever their sum of squares rounds to
)


@dataclass(frozen=True)
class LeftOut:
    """Dice, and what each of G institutes contributes to it.

    ``point`` [..., C], NaN where no ROI has the class; ``without`` [..., G, C], the score without
    the institute, NaN where no ROI with the class is left; ``share`` [..., G, C], the institute's
    part of the denominator (per_roi: of the ROIs with the class; pooled: of true and predicted
    pixels); ``having`` int64 [..., C], how many institutes have the class.
    """

    point: np.ndarray
    without: np.ndarray
    share: np.ndarray
    having: np.ndarray

    @property
    def effective(self) -> np.ndarray:
        """float64 [..., C]; 0 where no institute has the class."""
        return effective_size(self.share)

    def mean(self, rois: np.ndarray, classes: Sequence[int]) -> LeftOut:
        """Of the plain mean over those of ``classes`` that some of ``rois`` [..., C] have; C
        becomes 1."""
        chosen = list(classes)
        defined = rois[..., chosen] > 0
        point = over_classes(self.point[..., None, :], rois, chosen)[..., 0, :]
        having = np.where(defined, self.having[..., chosen], 0).max(-1, keepdims=True, initial=0)
        return LeftOut(
            np.where(defined.any(-1, keepdims=True), point, np.nan),
            over_classes(self.without, rois, chosen),
            over_classes(self.share, rois, chosen),
            having,
        )


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
    seeds = [left_out(run, groups, estimand) for run in runs]
    classes = LeftOut(
        np.mean([seed.point for seed in seeds], axis=0),
        np.mean([seed.without for seed in seeds], axis=0),
        np.mean([seed.share for seed in seeds], axis=0),
        seeds[0].having,
    )
    rois = (runs[0].true > 0).sum(0)
    rows = [
        *_described(classes, len(sites)),
        *_described(classes.mean(rois, mean_classes), len(sites)),
    ]
    defined = sum(bool(rois[c]) for c in mean_classes)
    return Intervals(estimand, tuple(rows[:-1]), rows[-1], defined, len(mean_classes))


def left_out(triple: Triple, groups: np.ndarray, estimand: str) -> LeftOut:
    """Each of the ``groups`` bool [G, ROI] left out of ``triple`` int64 [..., ROI, C]."""
    top, bottom, rois = parts_of(triple, estimand)
    keep = (~groups).astype(np.float64)
    present = (triple.true > 0).astype(np.float64)
    sizes = groups.astype(np.float64) @ np.where(rois[..., None, :] > 0, bottom, 0.0)
    total = sizes.sum(-2, keepdims=True)
    return LeftOut(
        point=np.where(rois > 0, ratio(top.sum(-2), bottom.sum(-2)), np.nan),
        without=np.where(keep @ present > 0, ratio(keep @ top, keep @ bottom), np.nan),
        share=sizes / np.where(total > 0, total, 1.0),
        having=(groups.astype(np.float64) @ present > 0).sum(-2),
    )


def _errors(scores: LeftOut) -> np.ndarray:
    """Standard errors [..., C], NaN where one institute alone has the class."""
    squares = ((scores.without - scores.point[..., None, :]) ** 2).sum(-2)
    number = np.maximum(1, scores.having)
    errors: np.ndarray = np.sqrt((number - 1) / number * squares)
    return errors


def institute_bounds(scores: LeftOut) -> Bounds:
    """Intervals of many scores at once, withheld below the effective number of institutes that
    ``intervals.yaml`` asks for."""
    point, effective, error = scores.point, scores.effective, _errors(scores)
    known = np.isfinite(error)
    error = np.where(known, error, 0.0)
    code = np.select(
        [
            ~np.isfinite(point),
            ~known | (scores.having < 2),
            effective < LIMITS.fewest_effective_institutes - _ROUNDING,
            (point == 0) | (point == 1) | (error < NO_SPREAD),
        ],
        [UNDEFINED, SINGLE, FEW, SAME],
        0,
    )
    degrees = np.maximum(effective - 1, 1e-3)
    low, high = logit_t(point, error, degrees)
    return Bounds(
        np.where(code == 0, low, np.nan), np.where(code == 0, high, np.nan), error, degrees, code
    )


def _described(scores: LeftOut, institutes: int) -> list[Interval]:
    """One Interval per class, with the reason in words, of data from so many ``institutes``."""
    bounds, errors, effective = institute_bounds(scores), _errors(scores), scores.effective
    single = (
        "all ROIs are from one institute"
        if institutes < 2
        else "all ROIs that have it, or a class that is in the mean, are from one institute"
    )
    rows = []
    for c, code in enumerate(bounds.code):
        reason = {
            UNDEFINED: "no ground truth of it in the scored ROIs",
            SINGLE: single,
            FEW: f"it rests on effectively {effective[c]:.1f} institutes; an interval needs "
            f"{LIMITS.fewest_effective_institutes:g}",
            SAME: "the score is 0, 1 or the same without any institute, so there is no spread to "
            "measure",
        }.get(int(code))
        given = code == 0
        rows.append(
            Interval(
                None if code == UNDEFINED else float(scores.point[c]),
                float(bounds.low[c]) if given else None,
                float(bounds.high[c]) if given else None,
                int(scores.having[c]),
                float(effective[c]),
                float(errors[c]) if given else None,
                float(bounds.degrees[c]) if given else None,
                T if given else None,
                reason,
            )
        )
    return rows
