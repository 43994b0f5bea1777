"""Which differences hold, pair by pair: what ``benchbcss compare`` says, for one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchbcss.board import compare as comparing
from benchbcss.board.cells import Grid
from benchbcss.board.model import Board, Table
from benchbcss.errors import BenchError
from benchbcss.report.charts import Figure
from benchbcss.report.class_charts import differences

#: models; pairs grow as their square
MOST = 12


@dataclass(frozen=True)
class Compared:
    """The differences as a chart, and ``grids``: pairs and wins; or in ``reason`` why there are
    none."""

    figure: Figure | None = None
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = ()
    reason: str = ""


def compared(board: Board, table: Table) -> Compared:
    """The ranked models of ``table``, on its first estimand."""
    names = list(dict.fromkeys(row.backend for row in table.rows if row.rank is not None))
    if len(names) < 2:
        return Compared(reason="There are no two ranked models to compare.")
    left_out, names = names[MOST:], names[:MOST]
    try:
        part, entries, seeds = comparing.choose(replace(board, tables=[table]), names)
        content = comparing.report(part, entries, seeds)
    except BenchError as error:
        return Compared(reason=f"Not compared: {error}")
    found = content["estimands"][table.track.estimands[0]]
    notes = _notes(found["pairs"])
    if left_out:
        notes.append(f"only the {MOST} best are compared: benchbcss compare takes any")
    standings = [row["name"] for row in found["standings"]]
    grids = [
        _standings(found["standings"], content["seeds"]),
        _pairs(found["pairs"], content["classes"]),
        _wins(standings, found["wins"]),
    ]
    return Compared(differences(standings, found["pairs"]), grids, notes)


def _notes(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why pairs are ties, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        if pair["note"]:
            reasons.setdefault(pair["note"], []).append(f"{pair['a']} - {pair['b']}")
    return [
        f"{'every pair' if len(names) == len(pairs) > 1 else ', '.join(names)}: {note}"
        for note, names in reasons.items()
    ]


def _standings(rows: Sequence[Mapping[str, Any]], seeds: Mapping[str, Sequence[int]]) -> Grid:
    lines = [
        [
            row["name"],
            "-" if row["point"] is None else f"{row['point']:.3f}",
            row["rank_text"],
            "{} to {}".format(*row["rank_interval"]) if row["rank_interval"] else "-",
            ", ".join(map(str, seeds[row["name"]])),
            "-" if row["seed_sd"] is None else f"{row['seed_sd']:.3f}",
        ]
        for row in rows
    ]
    columns = ["model", "mean Dice", "rank", "resampled ranks, 95 %", "seeds", "sd over seeds"]
    return Grid("Standings over all seeds", columns, lines)


def _pairs(pairs: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Grid:
    lines = [
        [
            f"{pair['a']} - {pair['b']}",
            _signed(pair["mean"]),
            "-" if pair["p_holm"] is None else f"{pair['p_holm']:.2g}",
            pair["verdict"],
            *map(_signed, pair["classes"]),
        ]
        for pair in pairs
    ]
    columns = ["pair", "mean Dice", "p (Holm)", "better", *classes]
    return Grid("Differences with 95 % intervals", columns, lines, (0, 3))


def _signed(difference: Mapping[str, Any]) -> str:
    value, low, high = difference["point"], difference["low"], difference["high"]
    text = "-" if value is None else f"{value:+.3f}"
    return text if low is None else f"{text} [{low:+.2f}, {high:+.2f}]"


def _wins(names: Sequence[str], wins: Sequence[Sequence[int]]) -> Grid:
    lines = [
        [name, *("" if i == j else str(count) for j, count in enumerate(line))]
        for i, (name, line) in enumerate(zip(names, wins, strict=True))
    ]
    return Grid("In how many ROIs a line is better than a column", ["model", *names], lines)
