"""What each ROI contributes to a score: leave-one-ROI-out influence.

A pooled Dice, a mean over ROIs and an accuracy over regions are all a ratio of two sums over
ROIs. Leaving ROI i out changes the ratio D by psi_i = (top_i - D bottom_i) / (bottom - bottom_i),
and sum psi_i^2 estimates the variance of D. Nothing here is drawn at random.

All arrays are float64 with ROIs on the last axis but one and classes on the last; any axes before
them are data sets computed at once, which is how the coverage benchmark uses the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchbcss.scoring.metrics import Triple, ratio

ESTIMANDS = ("per_roi", "pooled")


def effective_size(share: np.ndarray) -> np.ndarray:
    """Kish's effective sample size, 1 / sum of squared shares: float64 [..., C] of shares
    [..., N, C]; 0 where nothing has a share."""
    squares = (share**2).sum(-2)
    return np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)


@dataclass(frozen=True)
class Influence:
    """Scores and what each ROI contributes to them.

    ``point`` [..., C], NaN where the class is in no ROI; ``psi`` [..., ROI, C], the score minus the
    score without that ROI, NaN where nothing is left without it; ``residual`` [..., ROI, C], the
    same before the leave-one-out correction (sums to 0); ``share`` [..., ROI, C], the ROI's part of
    the denominator (sums to 1); ``rois`` int64 [..., C], ROIs that have the class in ground truth
    (for a mean: the fewest that any of its classes has); ``area_shift`` [..., C], how far the score
    is expected to move once large ROIs are as frequent as lognormal areas make them (0 unless
    pooled).
    """

    point: np.ndarray
    psi: np.ndarray
    residual: np.ndarray
    share: np.ndarray
    rois: np.ndarray
    area_shift: np.ndarray

    @property
    def effective_rois(self) -> np.ndarray:
        """float64 [..., C]; 0 where no ROI has the class."""
        return effective_size(self.share)

    @property
    def variance(self) -> np.ndarray:
        """float64 [..., C]: sum of squared influences."""
        variance: np.ndarray = (self.psi**2).sum(-2)
        return variance


def parts_of(triple: Triple, estimand: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numerator and denominator float64 [..., ROI, C] whose sums give Dice, and the ROIs with the
    class int64 [..., C].

    ``triple`` int64 [..., ROI, C]; ``estimand`` 'pooled' or 'per_roi', ValueError for another.
    """
    present = triple.true > 0
    area = (triple.true + triple.predicted).astype(np.float64)
    if estimand == "pooled":
        return 2.0 * triple.hit, area, present.sum(-2)
    if estimand == "per_roi":
        dice = ratio(2.0 * triple.hit, area)
        return np.where(present, dice, 0.0), present.astype(np.float64), present.sum(-2)
    raise ValueError(f"The estimand is '{estimand}', not one of {', '.join(ESTIMANDS)}.")


def of_ratio(top: np.ndarray, bottom: np.ndarray, rois: np.ndarray | None = None) -> Influence:
    """Influence on sum(top) / sum(bottom) over ROIs; both [..., ROI, C].

    ``rois`` [..., C] is how many ROIs have the class (default: those with a denominator). Where it
    is 0 the score is undefined.
    """
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    if rois is None:
        rois = (bottom > 0).sum(-2)
    total = bottom.sum(-2)
    point = np.where(rois > 0, ratio(top.sum(-2), total), np.nan)
    distance = top - np.nan_to_num(point)[..., None, :] * bottom
    scale = np.where(total > 0, total, 1.0)[..., None, :]
    rest = total[..., None, :] - bottom
    return Influence(
        point,
        ratio(distance, rest),
        distance / scale,
        bottom / scale,
        np.asarray(rois),
        np.zeros_like(point),
    )


def of_counts(triple: Triple, estimand: str) -> Influence:
    """Influence on Dice per class of ``triple`` int64 [..., ROI, C]."""
    influence = of_ratio(*parts_of(triple, estimand))
    return replace(influence, area_shift=_area_shift(triple)) if estimand == "pooled" else influence


def _area_shift(triple: Triple) -> np.ndarray:
    """float64 [..., C]: slope of Dice on log area, times what the sample's large ROIs lack.

    Where areas are lognormal, with mean m and variance v of the logarithm, the mean log area over
    all pixels is m + v. Samples fall short of it, because the largest ROIs of a population are
    rarely drawn, and if Dice grows with area the score is then too low. Where areas are bounded
    there are no such ROIs; the log area is then skewed to the left, and from a skewness of -0.3 to
    -1.3 the shift goes down to 0. Only ROIs that have the class count.
    """
    present = triple.true > 0
    area = np.where(present, triple.true + triple.predicted, 0).astype(np.float64)
    count = np.maximum(2, present.sum(-2))
    log = np.log(np.where(present, area, 1.0))
    middle = log.sum(-2) / count
    spread = np.where(present, log - middle[..., None, :], 0.0)
    squares = (spread**2).sum(-2)
    dice = np.where(present, ratio(2.0 * triple.hit, area), 0.0)
    slope = ratio((spread * dice).sum(-2), squares)
    lacking = squares / (count - 1) - ratio((area * spread).sum(-2), area.sum(-2))
    skewness = ratio((spread**3).sum(-2) / count, (squares / count) ** 1.5)
    unbounded = np.clip(1.3 + skewness, 0, 1)
    return np.where(squares > 0, slope * lacking * unbounded, 0.0)


def over_seeds(influences: Sequence[Influence]) -> Influence:
    """Runs of one backend that differ by seed: scores, influences and shares averaged."""

    def average(name: str) -> np.ndarray:
        return np.mean([getattr(one, name) for one in influences], axis=0)

    return Influence(
        average("point"),
        average("psi"),
        average("residual"),
        average("share"),
        influences[0].rois,
        average("area_shift"),
    )


def over_classes(values: np.ndarray, rois: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """The plain mean over those of ``classes`` that are defined (``rois`` [..., C] above 0) of
    ``values`` [..., ROI, C]: [..., ROI, 1]."""
    chosen = list(classes)
    defined = rois[..., chosen] > 0
    count = np.maximum(1, defined.sum(-1, keepdims=True))
    kept = np.where(defined[..., None, :], values[..., chosen], 0.0)
    total: np.ndarray = kept.sum(-1, keepdims=True)
    return total / count[..., None, :]


def mean_of_classes(influence: Influence, classes: Sequence[int]) -> Influence:
    """The plain mean over those of ``classes`` that are defined; C becomes 1.

    The influence is NaN where one of the classes is in a single ROI.
    """
    rois = influence.rois[..., list(classes)]
    some = (rois > 0).any(-1, keepdims=True)
    fewest = np.where(rois > 0, rois, np.iinfo(np.int64).max).min(-1, keepdims=True)
    point = over_classes(influence.point[..., None, :], influence.rois, classes)[..., 0, :]
    return Influence(
        np.where(some, point, np.nan),
        over_classes(influence.psi, influence.rois, classes),
        over_classes(influence.residual, influence.rois, classes),
        over_classes(influence.share, influence.rois, classes),
        np.where(some, fewest, 0),
        over_classes(influence.area_shift[..., None, :], influence.rois, classes)[..., 0, :],
    )


def joined(first: Influence, second: Influence) -> Influence:
    """Classes of both, one after the other."""
    return Influence(
        *(
            np.concatenate([getattr(first, name), getattr(second, name)], -1)
            for name in ("point", "psi", "residual", "share", "rois", "area_shift")
        )
    )
