"""Paired comparison of backends on the same ROIs.

A difference of two backends has the influence psi_i(A) - psi_i(B), so what is hard about an ROI for
both cancels. Interval and p-value come from one test, so they cannot disagree:

- more than 12 ROIs: t on the plain scale, with the degrees of freedom of the score itself;
- up to 12 ROIs (that have the class): all sign flips of the ROIs' contributions to the difference
  are enumerated. p is the share of flips that are at least as extreme, and the interval holds the
  differences that this test does not reject. Below 6 ROIs no p-value can reach 0.05, so there is no
  interval.

Per backend, influences and resamples are computed once; only the pairs themselves grow as the
square of their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy.special import stdtr, stdtrit

from benchbcss.errors import InputError
from benchbcss.scoring.bootstrap import draws_of, mean_of
from benchbcss.scoring.influence import (
    Influence,
    effective_size,
    joined,
    mean_of_classes,
    of_counts,
    over_classes,
    over_seeds,
)
from benchbcss.scoring.intervals import (
    FEW,
    NO_SPREAD,
    SAME,
    SINGLE,
    UNDEFINED,
    Bounded,
    seed_sd,
)
from benchbcss.scoring.limits import LIMITS
from benchbcss.scoring.metrics import Triple, dice_of, nanmean

ALPHA = 1 - LIMITS.level
T, FLIPS = "t", "sign flips"
TIE = "tie"


@dataclass(frozen=True)
class Entry:
    """A backend's counts, one Triple [ROI, C] per seed."""

    name: str
    triples: tuple[Triple, ...]


@dataclass(frozen=True)
class Difference(Bounded):
    """A minus B: ``point``, 95 % interval and two-sided ``p`` of one test; ``method`` 't' or
    'sign flips'. Where no interval is given, ``reason`` says why; ``p`` may still be known."""

    p: float | None
    rois: int
    effective_rois: float
    method: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Pair:
    """Backends ``a`` and ``b``: the difference of the mean and of each class, the p-value of the
    mean adjusted by Holm over all pairs, and the ``verdict``: the better one's name, or 'tie'.
    ``note`` explains a tie whose own interval excludes 0, or one that could not be tested."""

    a: str
    b: str
    mean: Difference
    classes: tuple[Difference, ...]
    p_holm: float | None
    verdict: str
    note: str | None


@dataclass(frozen=True)
class Standing:
    """A backend among the others. ``rank`` by the point estimate; ``tied`` (first, last) rank it
    shares with those it cannot be told from; ``rank_interval`` of 95 % of the resamples (None where
    too few hold every class); ``seed_sd`` of the mean over seeds (None with one)."""

    name: str
    point: float | None
    rank: int
    tied: tuple[int, int]
    rank_interval: tuple[int, int] | None
    seed_sd: float | None

    @property
    def rank_text(self) -> str:
        """'2', or '1-3' where the rank is shared."""
        first, last = self.tied
        return str(first) if first == last else f"{first}-{last}"


@dataclass(frozen=True)
class Comparison:
    """``wins[a][b]``: in how many ROIs a's mean Dice is above b's; ``rois`` are scored."""

    estimand: str
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    wins: tuple[tuple[int, ...], ...]
    rois: int


def compare(entries: Sequence[Entry], mean_classes: Sequence[int], estimand: str) -> Comparison:
    """Compare ``entries`` on one estimand, 'per_roi' or 'pooled'.

    Raises InputError where two backends were scored against other masks.
    """
    true = entries[0].triples[0].true
    for entry in entries:
        if any(not np.array_equal(triple.true, true) for triple in entry.triples):
            raise InputError(
                f"{entry.name} was scored against other masks than {entries[0].name}. "
                f"Score both on the same data."
            )
    seeds = [[of_counts(triple, estimand) for triple in entry.triples] for entry in entries]
    means = [[mean_of_classes(one, mean_classes) for one in runs] for runs in seeds]
    pairs = _pairs(entries, [over_seeds(runs) for runs in seeds], mean_classes)
    points = np.array([over_seeds(runs).point[0] for runs in means])
    apart = np.zeros((len(entries), len(entries)), bool)
    for (a, b), pair in zip(combinations(range(len(entries)), 2), pairs, strict=True):
        apart[a, b] = apart[b, a] = pair.verdict != TIE
    present = [c for c in mean_classes if true[:, c].any()]
    spans = rank_intervals(entries, present, estimand)
    standings = []
    for i, (entry, tied) in enumerate(zip(entries, tied_ranks(points, apart), strict=True)):
        values = [float(one.point[0]) for one in means[i]]
        standings.append(
            Standing(
                entry.name,
                float(points[i]) if np.isfinite(points[i]) else None,
                1 + int((points > points[i]).sum()),
                tied,
                spans[i],
                seed_sd(values),
            )
        )
    return Comparison(
        estimand, tuple(standings), tuple(pairs), wins(entries, mean_classes), len(true)
    )


def _pairs(
    entries: Sequence[Entry], influences: Sequence[Influence], mean_classes: Sequence[int]
) -> list[Pair]:
    numbers = list(combinations(range(len(entries)), 2))
    # Once for each backend; a backend is then compared with all that follow it in one pass.
    with_mean = [joined(one, mean_of_classes(one, mean_classes)) for one in influences]
    by_pair = [
        row
        for a in range(len(entries) - 1)
        for row in _against(with_mean[a], with_mean[a + 1 :], mean_classes)
    ]
    tested = [i for i, row in enumerate(by_pair) if row[-1].p is not None]
    adjusted: list[float | None] = [None] * len(by_pair)
    for i, value in zip(tested, holm([by_pair[i][-1].p or 0.0 for i in tested]), strict=True):
        adjusted[i] = value
    pairs = []
    for (a, b), row, p_holm in zip(numbers, by_pair, adjusted, strict=True):
        mean = row[-1]
        verdict, note = TIE, mean.reason
        if p_holm is not None and p_holm < ALPHA and mean.point:
            verdict = entries[a].name if mean.point > 0 else entries[b].name
        elif mean.p is not None and mean.p < ALPHA:
            note = (
                f"different when this pair is tested alone (p = {mean.p:.2g}), not after adjusting "
                f"for {len(tested)} pairs"
            )
        pairs.append(
            Pair(entries[a].name, entries[b].name, mean, tuple(row[:-1]), p_holm, verdict, note)
        )
    return pairs


def differences(a: Influence, b: Influence, mean_classes: Sequence[int]) -> list[Difference]:
    """A minus B for every class [C], and last for the mean over ``mean_classes``, of two influences
    on the same ROIs."""
    one, other = (joined(part, mean_of_classes(part, mean_classes)) for part in (a, b))
    return _against(one, [other], mean_classes)[0]


def _against(
    a: Influence, others: Sequence[Influence], mean_classes: Sequence[int]
) -> list[list[Difference]]:
    """``differences`` of ``a`` and each of ``others``, whose last column is the mean already."""
    b = _stacked(others)
    parts, weights = contributions(_classes_of(a), _classes_of(b))
    rois = a.rois[..., :-1]
    parts = np.concatenate([parts, over_classes(parts, rois, mean_classes)], -1)
    weights = np.concatenate([weights, over_classes(weights, rois, mean_classes)], -1)
    low, high, p, code = t_differences(a, b)
    used, sizes, points = (weights > 0).sum(-2), effective_size(weights), a.point - b.point
    tables: list[list[Difference]] = []
    for i in range(len(others)):
        rows = []
        for c, point in enumerate(points[i].tolist()):
            rois_used, effective = int(used[i, c]), float(sizes[i, c])
            why = int(code[i, c])
            if why not in (UNDEFINED, SINGLE) and rois_used <= LIMITS.exact_up_to_rois:
                plain = Difference(point, None, None, None, rois_used, effective)
                rows.append(_exact(plain, parts[i, :, c], weights[i, :, c]))
            elif why:
                known = None if why == UNDEFINED else point
                reason = _reason(why, effective, c == len(points[i]) - 1)
                rows.append(
                    Difference(known, None, None, None, rois_used, effective, reason=reason)
                )
            else:
                values = (float(low[i, c]), float(high[i, c]), float(p[i, c]))
                rows.append(Difference(point, *values, rois_used, effective, T))
        tables.append(rows)
    return tables


def _stacked(influences: Sequence[Influence]) -> Influence:
    """Influences [ROI, C] as one of [backend, ROI, C]."""
    return Influence(
        *(np.stack([getattr(one, part.name) for one in influences]) for part in fields(Influence))
    )


def _classes_of(influence: Influence) -> Influence:
    """Without the mean, which is last."""
    return Influence(*(getattr(influence, part.name)[..., :-1] for part in fields(Influence)))


def _reason(code: int, effective: float, of_mean: bool) -> str:
    return {
        UNDEFINED: "no ground truth of it in the scored ROIs",
        SINGLE: "only one ROI has one of its classes" if of_mean else "only one ROI has it",
        FEW: f"it rests on effectively {effective:.1f} ROIs; an interval needs "
        f"{LIMITS.fewest_effective_rois:g}",
        SAME: "the difference is the same in every ROI, so there is no spread to measure",
    }[code]


def t_differences(
    a: Influence, b: Influence
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Low, high, p and code [..., C] of A minus B by t; a code other than 0 says why there is none
    (``UNDEFINED``, ``SINGLE``, ``FEW`` or ``SAME`` of ``intervals``)."""
    effective = effective_size((a.share + b.share) / 2)
    variance = ((a.psi - b.psi) ** 2).sum(-2)
    point = a.point - b.point
    known = np.isfinite(variance)
    error = np.sqrt(np.where(known, variance, 0.0))
    same = error < NO_SPREAD
    code = np.select(
        [
            ~np.isfinite(point),
            ~known | (a.rois < 2),
            same & (np.abs(point) < NO_SPREAD),  # equal in every ROI: nothing left to test
            effective < LIMITS.fewest_effective_rois,
            same,
        ],
        [UNDEFINED, SINGLE, 0, FEW, SAME],
        0,
    )
    degrees = np.maximum(effective - 1, 1e-3)
    reach = stdtrit(degrees, (1 + LIMITS.level) / 2) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(same, 0.0, np.abs(point) / error)
    p = 2 * stdtr(degrees, -statistic)
    return np.clip(point - reach, -1, 1), np.clip(point + reach, -1, 1), p, code


def contributions(a: Influence, b: Influence) -> tuple[np.ndarray, np.ndarray]:
    """What each ROI contributes to A minus B, and its weight in it: [..., ROI, C], summing to the
    difference and to 1."""
    weights = (a.share + b.share) / 2
    point = (a.point - b.point)[..., None, :]
    return a.residual - b.residual + weights * point, weights


def _exact(plain: Difference, parts: np.ndarray, weights: np.ndarray) -> Difference:
    used = weights > 0
    low, high, p = sign_flips(parts[used], weights[used])
    exact = replace(plain, p=float(p), method=FLIPS)
    if not np.isfinite(low):
        return replace(
            exact,
            reason=f"with {plain.rois} ROIs the smallest possible p-value is "
            f"{2 / 2**plain.rois:.2g}, so a 95 % interval is not available",
        )
    return replace(exact, low=max(-1.0, float(low)), high=min(1.0, float(high)))


def sign_flips(parts: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low, high and p of sum(parts) by all sign flips; ``parts`` and ``weights`` [ROI, ...].

    ``parts`` are the ROIs' contributions, ``weights`` their shares (sum 1). The test of a
    difference d flips the signs of parts - weights d. For a sign vector with flipped sum B and
    flipped weight W, it is at least as extreme as the observed sum A exactly when d lies between
    (A - B) / (1 - W) and (A + B) / (1 + W): the means of the flipped and of the unflipped ROIs. So
    p-value and interval are counts over these pairs. Infinite where no d can be rejected.
    """
    signs = _signs(len(parts))
    total = parts.sum(0)
    flipped = np.tensordot(signs, parts, 1)
    weight = np.tensordot(signs, weights, 1)
    tiny = 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(1 - weight > tiny, (total - flipped) / (1 - weight), np.nan)
        second = np.where(1 + weight > tiny, (total + flipped) / (1 + weight), np.nan)
    none = np.isnan(first) | np.isnan(second)  # all flipped or none: as extreme for every d
    none[[0, -1]] = True  # also where weights are rounded, as those of records are
    low = np.where(none, -np.inf, np.minimum(first, second))
    high = np.where(none, np.inf, np.maximum(first, second))
    p = ((low <= tiny) & (high >= -tiny)).mean(0)
    rejected = int(np.floor(ALPHA * len(signs)))  # so many flips may be as extreme, no more
    lowest = np.partition(low, rejected, axis=0)[rejected]
    highest = np.partition(high, len(signs) - 1 - rejected, axis=0)[len(signs) - 1 - rejected]
    return lowest, highest, p


@lru_cache(maxsize=16)
def _signs(rois: int) -> np.ndarray:
    """float64 [2^ROI, ROI] of all vectors of 1 and -1, from none flipped to all."""
    bits = (np.arange(2**rois)[:, None] >> np.arange(rois)) & 1
    signs: np.ndarray = 1.0 - 2.0 * bits
    signs.setflags(write=False)
    return signs


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979, Scand. J. Statist. 6)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for step, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def tied_ranks(points: Sequence[float] | np.ndarray, apart: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) rank of each backend; 1 is best.

    ``apart`` bool [K, K], symmetric: which backends can be told apart. The first rank is 1 + those
    that are better and told apart, the last K - those that are worse and told apart: so nobody
    stands alone at a rank beside one that it cannot be told from.
    """
    values = np.asarray(points, np.float64)
    better = apart & (values[None] > values[:, None])
    worse = apart & (values[None] < values[:, None])
    return [
        (1 + int(up), len(values) - int(down))
        for up, down in zip(better.sum(1), worse.sum(1), strict=True)
    ]


def wins(entries: Sequence[Entry], mean_classes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """[K][K]: ROIs in which one backend's mean Dice over the classes present (averaged over seeds)
    is above the other's."""
    chosen = list(mean_classes)
    means = np.stack(
        [
            np.mean([nanmean(dice_of(t)[:, chosen].T) for t in entry.triples], axis=0)
            for entry in entries
        ]
    )
    counts = (means[:, None] > means[None]).sum(2)
    return tuple(tuple(int(value) for value in row) for row in counts)


def rank_intervals(
    entries: Sequence[Entry], present: Sequence[int], estimand: str
) -> list[tuple[int, int] | None]:
    """Ranks of each backend in 95 % of the shared bootstrap resamples that hold every class; None
    where they are drawn from too few ROIs, which have no interval of their scores either."""
    rois = np.array([(entries[0].triples[0].true[:, c] > 0).sum() for c in present])
    if (
        not len(rois)
        or rois.min() < LIMITS.fewest_rois_of_a_class_in_a_mean
        or rois.max() < LIMITS.fewest_rois_for_a_verdict
    ):
        return [None] * len(entries)
    drawn = np.stack(
        [
            mean_of(np.mean([draws_of(t, estimand) for t in entry.triples], axis=0), present)
            for entry in entries
        ]
    )
    drawn = drawn[:, np.isfinite(drawn).all(0)]
    if drawn.shape[1] < 200:
        return [None] * len(entries)
    ranks = _ranks(drawn)
    spans = np.quantile(ranks, [0.025, 0.975], axis=1, method="nearest").astype(int).T
    return [(int(low), int(high)) for low, high in spans]


def _ranks(values: np.ndarray) -> np.ndarray:
    """int64 [K, draws]: 1 + how many of a column are above, ties sharing the better rank."""
    order = np.argsort(-values, axis=0, kind="stable")
    falling = np.take_along_axis(values, order, 0)
    place = np.broadcast_to(np.arange(len(values))[:, None], values.shape).copy()
    place[1:][falling[1:] == falling[:-1]] = 0
    ranks = np.empty(values.shape, np.int64)
    np.put_along_axis(ranks, order, 1 + np.maximum.accumulate(place, axis=0), 0)
    return ranks
