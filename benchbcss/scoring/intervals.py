"""95 % intervals of scores: leave-one-ROI-out influence, t quantile, logit scale.

One construction for a class, for the mean over classes, for both estimands, for several seeds and
for region accuracy. Where simulation shows that the interval does not reach nominal coverage, none
is given and ``reason`` says why (thresholds in ``intervals.yaml``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtrit

from benchbcss.scoring.influence import (
    Influence,
    effective_size,
    mean_of_classes,
    of_counts,
    of_ratio,
    over_seeds,
)
from benchbcss.scoring.limits import LIMITS
from benchbcss.scoring.metrics import Triple

NO_SPREAD = 1e-12  # standard errors below it are rounding
T, THREE = "t", "rule of three"
# Why there is no interval, in the order in which it is asked; 0 is "there is one".
UNDEFINED, SINGLE, FEW, SAME, POOLED, EDGE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Bounded:
    """A number and its bounds; None where there is none."""

    point: float | None
    low: float | None
    high: float | None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(low, high), or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Interval(Bounded):
    """A score and its 95 % interval.

    ``point`` is None where the score is undefined, ``low`` and ``high`` where no interval is given;
    ``reason`` then says why. ``rois`` have the class (for a mean: the fewest of any class),
    ``effective_rois`` is 1 / sum of squared shares, ``degrees`` the degrees of freedom of t, and
    ``method`` is 't' or 'rule of three'. For intervals over institutes, ``rois`` and
    ``effective_rois`` count institutes.
    """

    rois: int
    effective_rois: float
    standard_error: float | None = None
    degrees: float | None = None
    method: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Intervals:
    """Of every class and of the mean over ``defined`` of ``of`` classes.

    ``seed_sd`` is the standard deviation of the mean over seeds (None with one): it says how much
    training varies, and is not part of the intervals."""

    estimand: str
    classes: tuple[Interval, ...]
    mean: Interval
    defined: int
    of: int
    seed_sd: float | None = None


@dataclass(frozen=True)
class Bounds:
    """Arrays [..., C]: ``low`` and ``high`` (NaN where withheld), standard ``error``, ``degrees``
    of freedom, and the ``code`` of the reason (0: an interval is given)."""

    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    degrees: np.ndarray
    code: np.ndarray


def bounds_of(
    influence: Influence,
    off_edge: OffEdge | None = None,
    fewest: float = LIMITS.fewest_effective_rois,
    fewest_rois: int = 2,
    fewest_counted: int = 2,
) -> Bounds:
    """Intervals of many scores at once, withheld below ``fewest`` effective ROIs, ``fewest_rois``
    that have the class and ``fewest_counted`` that count at all.

    ``off_edge`` is that of pooled classes, and brings the rules of these.
    """
    point, effective = influence.point, influence.effective_rois
    variance = influence.variance
    known = np.isfinite(variance)
    error = np.sqrt(np.where(known, variance, 0.0))
    at_edge = (point == 0) | (point == 1)
    rules = [
        (influence.rois == 0, UNDEFINED),
        ((influence.rois < fewest_rois) | ~known, SINGLE),
        (effective < fewest, FEW),
        (~at_edge & ((influence.share > 0).sum(-2) < fewest_counted), POOLED),
        (~at_edge & (error < NO_SPREAD), SAME),
    ]
    if off_edge is not None:
        rules.append((~at_edge & (influence.rois < LIMITS.fewest_pooled_rois), POOLED))
        rules.append((~at_edge & (off_edge.rois < LIMITS.fewest_rois_off_the_edge), EDGE))
    code = np.select([rule for rule, _ in rules], [number for _, number in rules], 0)
    degrees = effective - 1
    if off_edge is not None:
        # Level and slope on log area are both estimated, as in a regression.
        error = error * np.sqrt(influence.rois / np.maximum(1, influence.rois - 2))
        part = LIMITS.degrees_off_the_edge
        fewer = np.clip(off_edge.effective - 1, 1, np.maximum(1, degrees))
        mixed = np.maximum(1, degrees) ** (1 - part) * fewer**part
        degrees = np.where(degrees > 1, mixed, degrees)
    shift = np.clip(np.nan_to_num(influence.area_shift), -error, error)
    low, high = logit_t(point, error, degrees, shift)
    reach = np.minimum(1.0, LIMITS.rule_of_three / np.maximum(effective, 1.0))
    low = np.where(at_edge, np.where(point == 0, 0.0, 1 - reach), low)
    high = np.where(at_edge, np.where(point == 0, reach, 1.0), high)
    return Bounds(
        np.where(code == 0, low, np.nan), np.where(code == 0, high, np.nan), error, degrees, code
    )


def logit_t(
    point: np.ndarray, error: np.ndarray, degrees: np.ndarray, shift: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """point +- t * standard error on the logit scale, mapped back to (0, 1), and extended by
    ``shift`` to the side of its sign."""
    inside = np.where((point > 0) & (point < 1), point, 0.5)
    quantile = stdtrit(np.maximum(degrees, 1e-3), (1 + LIMITS.level) / 2)
    scale = inside * (1 - inside)  # d point / d logit
    down = (quantile * error - np.minimum(shift, 0)) / scale
    up = (quantile * error + np.maximum(shift, 0)) / scale
    return expit(logit(inside) - down), expit(logit(inside) + up)


@dataclass(frozen=True)
class OffEdge:
    """ROIs in which the class was hit, or those with an error in it if fewer: their number ``rois``
    int64 [..., C], and their effective number, float64 [..., C]."""

    rois: np.ndarray
    effective: np.ndarray


def off_the_edge(runs: Sequence[Triple]) -> OffEdge:
    """The fewest of any of ``runs`` int64 [..., ROI, C], one per seed."""
    rois, effective = [], []
    for run in runs:
        size = run.true + run.predicted
        for some in (run.hit > 0, size > 2 * run.hit):
            areas = np.where(some, size, 0).astype(np.float64)
            total = areas.sum(-2, keepdims=True)
            rois.append(some.sum(-2))
            effective.append(effective_size(areas / np.where(total > 0, total, 1.0)))
    return OffEdge(np.min(rois, axis=0), np.min(effective, axis=0))


def intervals(
    triples: Triple | Sequence[Triple],
    mean_classes: Sequence[int],
    estimand: str,
    names: Sequence[str] | None = None,
) -> Intervals:
    """Intervals of Dice per class and of its mean over ``mean_classes``.

    ``triples`` int64 [ROI, C]: one, or one per seed of the same backend on the same ROIs;
    ``estimand`` 'pooled' or 'per_roi'; ``names`` of the classes, for the reasons.
    """
    runs = [triples] if isinstance(triples, Triple) else list(triples)
    seeds = [of_counts(run, estimand) for run in runs]
    classes = over_seeds(seeds)
    mean = mean_of_classes(classes, mean_classes)
    off_edge = off_the_edge(runs) if estimand == "pooled" else None
    of_class = _described(classes, bounds_of(classes, off_edge), off_edge)
    if len(mean_classes) == 1:
        of_mean = of_class[mean_classes[0]]
    else:
        needed = LIMITS.fewest_rois_of_a_class_in_a_mean
        of_mean = _described(mean, bounds_of(mean, None, **fewest_of_a_mean(estimand)))[0]
        rare = next((c for c in mean_classes if 0 < classes.rois[c] < needed), None)
        if rare is not None:
            number, who = int(classes.rois[rare]), names[rare] if names else f"class {rare}"
            has = "ROI has" if number == 1 else "ROIs have"
            of_mean = _without(
                of_mean,
                f"only {number} {has} {who}, which is in the mean; an interval needs {needed}",
            )
    values = [mean_of_classes(one, mean_classes).point[0] for one in seeds]
    return Intervals(
        estimand,
        tuple(of_class),
        of_mean,
        int((classes.rois[list(mean_classes)] > 0).sum()),
        len(mean_classes),
        seed_sd(values),
    )


def seed_sd(values: Sequence[float]) -> float | None:
    """Standard deviation of a score over seeds; None for one seed, and for a score that is
    undefined (NaN)."""
    known = len(values) > 1 and bool(np.isfinite(values).all())
    return float(np.std(values, ddof=1)) if known else None


def fewest_of_a_mean(estimand: str) -> dict[str, int]:
    """How many ROIs a mean over classes needs, as arguments of ``bounds_of``."""
    return {
        "fewest_rois": LIMITS.fewest_rois_of_a_class_in_a_mean,
        "fewest_counted": LIMITS.fewest_pooled_rois if estimand == "pooled" else 2,
    }


def ratio_interval(top: np.ndarray, bottom: np.ndarray) -> Interval:
    """Interval of sum(top) / sum(bottom), clustered by ROI; both [ROI], 0 <= top <= bottom.

    Region accuracy: the regions of each ROI named correctly, and all its regions.
    """
    influence = of_ratio(np.asarray(top)[:, None], np.asarray(bottom)[:, None])
    fewest = LIMITS.fewest_effective_rois_of_an_accuracy
    return _described(influence, bounds_of(influence, fewest=fewest), fewest=fewest)[0]


def region_interval(rois: Sequence[str], correct: Sequence[bool]) -> Interval:
    """Interval of the share of regions named correctly; one entry per region: its ROI, and whether
    its label is right."""
    place = {name: index for index, name in enumerate(dict.fromkeys(rois))}
    where = np.array([place[name] for name in rois], np.int64)
    right = np.bincount(where, np.asarray(correct, np.float64), len(place))
    return ratio_interval(right, np.bincount(where, minlength=len(place)))


def _described(
    influence: Influence,
    bounds: Bounds,
    off_edge: OffEdge | None = None,
    fewest: float = LIMITS.fewest_effective_rois,
) -> list[Interval]:
    """One Interval per class, with the reason in words."""
    effective, counted = influence.effective_rois, (influence.share > 0).sum(-2)
    rows = []
    for c, code in enumerate(bounds.code):
        few = 0 if off_edge is None else int(off_edge.rois[c])
        having = int(influence.rois[c])
        reason = {
            UNDEFINED: "no ground truth of it in the scored ROIs",
            SINGLE: "only one ROI has it",
            POOLED: (
                f"only {having} ROIs have it" if off_edge else f"it is over only {counted[c]} ROIs"
            )
            + f"; a pooled interval needs {LIMITS.fewest_pooled_rois}",
            FEW: f"it rests on effectively {effective[c]:.1f} ROIs; an interval needs {fewest:g}",
            EDGE: f"only {few} ROIs {'have a hit' if influence.point[c] < 0.5 else 'have an error'}"
            f" in it; an interval needs {LIMITS.fewest_rois_off_the_edge}",
            SAME: "every ROI has the same score, so there is no spread to measure",
        }.get(int(code))
        given = code == 0
        at_edge = influence.point[c] in (0, 1)
        rows.append(
            Interval(
                float(influence.point[c]) if np.isfinite(influence.point[c]) else None,
                float(bounds.low[c]) if given else None,
                float(bounds.high[c]) if given else None,
                having,
                float(effective[c]),
                float(bounds.error[c]) if given else None,
                float(bounds.degrees[c]) if given and not at_edge else None,
                (THREE if at_edge else T) if given else None,
                reason,
            )
        )
    return rows


def _without(interval: Interval, reason: str) -> Interval:
    return Interval(
        interval.point, None, None, interval.rois, interval.effective_rois, reason=reason
    )
