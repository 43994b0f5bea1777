"""Paired comparison of backends on the same ROIs: which results belong together, and what it says.

The statistics are ``scoring.compare``'s; here runs are gathered, one per seed, from a board.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchbcss.board.model import Board, Row, Table
from benchbcss.errors import DataError, InputError, UnknownNameError
from benchbcss.scoring.compare import Comparison, Entry, compare
from benchbcss.scoring.metrics import Triple


def choose(board: Board, backends: Sequence[str]) -> tuple[Table, list[Entry], list[list[int]]]:
    """The table that holds all ``backends``, their runs, and the seeds of each.

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
            chosen = [_runs(name, part) for name in backends]
            entries = [
                Entry(name, tuple(read_triple(row) for row in runs))
                for name, runs in zip(backends, chosen, strict=True)
            ]
            return part, entries, [[row.seed for row in runs] for runs in chosen]
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


def _runs(name: str, part: Table) -> list[Row]:
    rows = sorted((row for row in part.rows if row.backend == name), key=lambda row: row.seed)
    variants = [row.variant for row in rows if row.variant]
    if variants:
        raise InputError(
            f"{name} has several runs of one seed ({', '.join(variants)}); keep one of them in the "
            f"workspace, or compare in another one."
        )
    return rows


def read_triple(row: Row) -> Triple:
    """From the stored tables: [ROI, C] of the classes in the mean, ROIs in the stored order."""
    from benchbcss.tracks import TRACKS

    try:
        _, triple = TRACKS[row.track].triple(row.run, row.scores)
    except DataError as error:
        raise InputError(f"{error} {row.run}") from error
    return triple


def report(part: Table, entries: Sequence[Entry], seeds: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Everything ``benchbcss compare`` says, as plain data: a comparison by each estimand."""
    classes = part.rows[0].scores.classes
    mean = range(len(classes))
    return {
        "suite": part.suite,
        "track": part.track.name,
        "classes": classes,
        "seeds": {
            entry.name: list(entry_seeds) for entry, entry_seeds in zip(entries, seeds, strict=True)
        },
        "estimands": {name: plain(compare(entries, mean, name)) for name in part.track.estimands},
    }


def plain(comparison: Comparison) -> dict[str, Any]:
    """As data that JSON can hold."""
    content = asdict(comparison)
    for row, standing in zip(content["standings"], comparison.standings, strict=True):
        row["rank_text"] = standing.rank_text
    return content
