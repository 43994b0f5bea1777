"""Paired comparison of backends on the same ROIs: differences, p-values, ranks, wins.

Resamples are the ones behind every interval, so they are the same for all backends; seeds of a
backend are averaged within a resample. numpy and pyarrow only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from benchbcss.board.model import Board, Row, Table
from benchbcss.errors import DataError, InputError, UnknownNameError
from benchbcss.scoring.bootstrap import draws_of, interval, mean_of
from benchbcss.scoring.metrics import Triple, dice_of, nanmean
from benchbcss.tracks import TRACKS

FLIPS = 10_000
SEED = 0
LEVEL = 0.05


@dataclass(frozen=True)
class Entry:
    """A backend's runs, one per seed: hit, true and predicted pixels per ROI and class."""

    name: str
    seeds: tuple[int, ...]
    triples: tuple[Triple, ...]

    def draws(self, estimand: str, weights: np.ndarray | None = None) -> np.ndarray:
        """float64 [draws, C], averaged over seeds."""
        drawn: np.ndarray = np.mean([draws_of(t, estimand, weights) for t in self.triples], axis=0)
        return drawn

    def roi_means(self) -> np.ndarray:
        """float64 [ROI]: mean Dice over the classes an ROI has, averaged over seeds."""
        return np.mean([nanmean(dice_of(t).T) for t in self.triples], axis=0)

    def seed_means(self) -> list[float]:
        """The headline (per ROI, mean of classes) of each seed."""
        return [float(nanmean(nanmean(dice_of(t)))) for t in self.triples]


def choose(board: Board, backends: Sequence[str]) -> tuple[Table, list[Entry]]:
    """The table that holds all ``backends``, and their runs.

    Raises UnknownNameError for a backend without a result and InputError, naming the field, for
    results that do not compare.
    """
    known = {row.backend for part in board.tables for row in part.rows}
    for part in board.tables:
        known |= {row.backend for row, _ in part.not_comparable}
    for name in backends:
        if name not in known:
            raise UnknownNameError("result of a backend", name, sorted(known))
    for part in board.tables:
        rows = {row.backend for row in part.rows}
        if set(backends) <= rows:
            return part, [_entry(name, part) for name in backends]
    for part in board.tables:
        rows = {row.backend for row in part.rows}
        apart = {row.backend: why for row, why in part.not_comparable if row.backend in backends}
        if set(backends) <= rows | set(apart) and apart:
            name, why = next((n, w) for n, w in apart.items() if n not in rows)
            raise InputError(f"{name} cannot be compared with the others: {why}.")
    tables = "; ".join(
        f"{part.suite} / {part.track.name}: {', '.join(sorted({r.backend for r in part.rows}))}"
        for part in board.tables
    )
    raise InputError(
        f"{', '.join(backends)} have no suite and track in common. There is {tables}. "
        f"Choose with --suite and --track."
    )


def _entry(name: str, part: Table) -> Entry:
    rows = sorted((row for row in part.rows if row.backend == name), key=lambda row: row.seed)
    variants = [row for row in rows if row.variant]
    if variants:
        raise InputError(
            f"{name} has several runs of one seed ({', '.join(row.variant for row in variants)}); "
            f"keep one of them in the workspace, or compare in another one."
        )
    return Entry(name, tuple(row.seed for row in rows), tuple(read_triple(row) for row in rows))


def read_triple(row: Row) -> Triple:
    """From the stored tables: [ROI, C] of the classes in the mean, ROIs in the stored order."""
    try:
        _, triple = TRACKS[row.track].triple(row.run, row.scores)
    except DataError as error:
        raise InputError(f"{error} {row.run}") from error
    return triple


def compare(
    entries: Sequence[Entry], classes: Sequence[str], estimands: Sequence[str]
) -> dict[str, Any]:
    """Everything ``benchbcss compare`` says, as plain data."""
    true = entries[0].triples[0].true
    for entry in entries:
        if any(not np.array_equal(t.true, true) for t in entry.triples):
            raise InputError(
                f"The counts of {entry.name} are of other masks than those of {entries[0].name}."
            )
    present = [c for c in range(len(classes)) if true[:, c].any()]
    whole = np.ones((1, len(true)))
    points = {e: [x.draws(e, whole)[0] for x in entries] for e in estimands}
    drawn = {e: [x.draws(e) for x in entries] for e in estimands}
    pairs = list(combinations(range(len(entries)), 2))
    p_values = [_sign_flip(entries[a].roi_means() - entries[b].roi_means()) for a, b in pairs]
    found = []
    for (a, b), p, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        one: dict[str, Any] = {"a": entries[a].name, "b": entries[b].name}
        for e in estimands:
            point, draws = points[e][a] - points[e][b], drawn[e][a] - drawn[e][b]
            one[e] = {
                "mean": float(point[present].mean()) if present else None,
                "mean_interval": _bounds(mean_of(draws, present)),
                "classes": {
                    classes[c]: {"difference": float(point[c]), "interval": _bounds(draws[:, c])}
                    for c in present
                },
            }
        one["p"], one["p_holm"] = p, adjusted
        bounds = one["per_roi"]["mean_interval"]
        apart = bounds is not None and (bounds[0] > 0 or bounds[1] < 0) and adjusted < LEVEL
        better = one["per_roi"]["mean"] is not None and one["per_roi"]["mean"] > 0
        one["verdict"] = (entries[a].name if better else entries[b].name) if apart else "tie"
        found.append(one)
    means = np.stack([entry.roi_means() for entry in entries])
    return {
        "backends": [
            {
                "name": entry.name,
                "seeds": list(entry.seeds),
                "mean_dice": float(points["per_roi"][i][present].mean()) if present else None,
                "rank": rank,
                "rank_interval": span,
                "seed_sd": float(np.std(entry.seed_means(), ddof=1))
                if len(entry.seeds) > 1
                else None,
            }
            for i, (entry, (rank, span)) in enumerate(
                zip(entries, _ranks(points["per_roi"], drawn["per_roi"], present), strict=True)
            )
        ],
        "pairs": found,
        "wins": [
            [int((means[a] > means[b]).sum()) for b in range(len(entries))]
            for a in range(len(entries))
        ],
        "rois": len(true),
        "classes": [classes[c] for c in present],
        "level": LEVEL,
        "flips": FLIPS,
    }


def _ranks(
    points: Sequence[np.ndarray], drawn: Sequence[np.ndarray], present: Sequence[int]
) -> list[tuple[int, list[int]]]:
    """(rank, [lowest, highest] of 95 % of the resamples) by mean per-class Dice; 1 is best."""
    scores = np.stack([mean_of(d, present) for d in drawn])
    scores = scores[:, np.isfinite(scores).all(0)]
    point = np.array([mean_of(p[None], present)[0] for p in points])
    ranks = 1 + (scores[None] > scores[:, None]).sum(1)
    own = 1 + (point[None] > point[:, None]).sum(1)
    spans = (
        [np.quantile(r, [0.025, 0.975], method="nearest").astype(int).tolist() for r in ranks]
        if scores.shape[1]
        else [[1, len(points)] for _ in points]
    )
    return [(int(rank), span) for rank, span in zip(own, spans, strict=True)]


def _sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of a mean difference, by flipping the signs of ROIs at random."""
    known = differences[np.isfinite(differences)]
    if not len(known):
        return 1.0
    rng = np.random.default_rng(SEED)
    signs = rng.integers(0, 2, (FLIPS, len(known))) * 2 - 1
    extreme = np.abs(signs @ known) >= abs(known.sum()) - 1e-12
    return float((1 + extreme.sum()) / (1 + FLIPS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for step, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def _bounds(values: np.ndarray) -> list[float] | None:
    found = interval(values[np.isfinite(values)])
    return None if found is None else list(found)
