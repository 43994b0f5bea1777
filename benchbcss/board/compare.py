"""Paired comparison on the same ROIs: which results belong together, and what it says.

The statistics are ``scoring.compare``'s; here runs are gathered, one per seed, from a board. What
is compared is named as the board shows it: a backend, or a variant such as ``sam2_v3 lr=1e-4``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchbcss.board.model import Board, Row, Table
from benchbcss.errors import DataError, InputError, UnknownNameError
from benchbcss.scoring.compare import Comparison, Entry, compare
from benchbcss.scoring.metrics import Triple


@dataclass(frozen=True)
class Compared:
    """What ``benchbcss compare`` says: a comparison by each estimand of the track, and the seeds
    that stand behind each name."""

    suite: str
    track: str
    classes: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]
    estimands: dict[str, Comparison]

    def plain(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        return {
            "suite": self.suite,
            "track": self.track,
            "classes": list(self.classes),
            "seeds": {name: list(seeds) for name, seeds in self.seeds.items()},
            "estimands": {name: plain(part) for name, part in self.estimands.items()},
        }


def of_names(board: Board, names: Sequence[str]) -> Compared:
    """Compare what ``names`` mean, in the first table that holds them all.

    Raises UnknownNameError for a name without a result and InputError for a name that means
    several, for fewer than two, and, naming the field, for results that do not compare.
    """
    part, chosen = choose(board, names)
    entries = [
        Entry(label, tuple(read_triple(row) for row in rows)) for label, rows in chosen.items()
    ]
    classes = part.rows[0].scores.classes
    mean = range(len(classes))
    return Compared(
        part.suite,
        part.track.name,
        tuple(classes),
        {label: tuple(row.seed for row in rows) for label, rows in chosen.items()},
        {name: compare(entries, mean, name) for name in part.track.estimands},
    )


def choose(board: Board, names: Sequence[str]) -> tuple[Table, dict[str, list[Row]]]:
    """The table that holds all that ``names`` mean, and by its label the runs of each, one for each
    seed. Raises as ``of_names`` does."""
    apart = [row for part in board.tables for row, _ in part.not_comparable]
    for name in names:
        if not _meant(name, [*board.rows, *apart]):
            known = _known([*board.rows, *apart])
            hint = "" if known else "Run it first."
            raise UnknownNameError("result of a backend", name, known, hint)
    for part in board.tables:
        if not all(_meant(name, part.rows) for name in names):
            continue
        chosen = dict(_one(name, part.rows) for name in names)
        if len(chosen) < 2:
            raise InputError("Name at least two different backends or variants of one.")
        return part, chosen
    for part in board.tables:
        rows = [*part.rows, *(row for row, _ in part.not_comparable)]
        if not all(_meant(name, rows) for name in names):
            continue
        lost = next(name for name in names if not _meant(name, part.rows))
        why = next(why for row, why in part.not_comparable if _meant(lost, [row]))
        raise InputError(f"{lost} cannot be compared with the others: {why}.")
    tables = "; ".join(
        f"{part.suite} / {part.track.name}: {', '.join(_known(part.rows))}" for part in board.tables
    )
    raise InputError(
        f"{', '.join(names)} have no suite and track in common. There is {tables}. "
        f"Choose with --suite and --track."
    )


def label_of(row: Row) -> str:
    """A row's name without its seed: what all seeds of one setting share."""
    evaluated = "(evaluated)" if row.result.evaluated else ""
    return " ".join(filter(None, (row.backend, row.variant, evaluated)))


def _known(rows: Sequence[Row]) -> list[str]:
    return sorted({label_of(row) for row in rows})


def _meant(name: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """By label, the rows that ``name`` may mean in the first way that fits any: as the board labels
    them (parentheses do not matter), one seed, a run's folder, a given name or variant alone, a
    backend."""
    wanted = _bare(name)
    ways = (
        lambda row: label_of(row) == name,
        lambda row: row.name == name,
        lambda row: _bare(label_of(row)) == wanted,
        lambda row: _bare(row.name) == wanted,
        lambda row: row.run.name == name,
        lambda row: _bare(row.result.name or row.variant) == wanted,
        lambda row: row.backend == name,
    )
    for way in ways:
        groups: dict[str, list[Row]] = {}
        for row in filter(way, rows):
            groups.setdefault(label_of(row), []).append(row)
        if groups:
            return groups
    return {}


def _bare(text: str) -> str:
    return " ".join(text.replace("(", " ").replace(")", " ").split())


def _one(name: str, rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """The label that ``name`` means, with its rows by seed. Raises InputError where it means
    several."""
    groups = _meant(name, rows)
    if len(groups) > 1:
        listing = ", ".join(f"'{label}'" for label in groups)
        raise InputError(
            f"'{name}' means {len(groups)} results here: {listing}. Name one of them as it is here."
        )
    ((label, meant),) = groups.items()
    if len(meant) == 1:
        label = meant[0].name if _bare(meant[0].name) == _bare(name) else label
    return label, sorted(meant, key=lambda row: row.seed)


def read_triple(row: Row) -> Triple:
    """From the stored tables: [ROI, C] of the classes in the mean, ROIs in the stored order."""
    from benchbcss.tracks import TRACKS

    try:
        _, triple = TRACKS[row.track].triple(row.run, row.scores)
    except DataError as error:
        raise InputError(f"{error} {shlex.quote(str(row.run))}") from error
    return triple


def plain(comparison: Comparison) -> dict[str, Any]:
    """As data that JSON can hold."""
    content = asdict(comparison)
    for row, standing in zip(content["standings"], comparison.standings, strict=True):
        row["rank_text"] = standing.rank_text
    return content
