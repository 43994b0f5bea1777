"""Which differences hold, pair by pair: what ``benchbcss compare`` says, for one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchbcss.board import compare as comparing
from benchbcss.board.cells import Grid
from benchbcss.board.exporters.comparison import notes_of, seeds_of, signed, wins
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
    ranked = (row for row in table.rows if row.rank is not None)
    names = list(dict.fromkeys(comparing.label_of(row) for row in ranked))
    if len(names) < 2:
        return Compared(reason="There are no two ranked models to compare.")
    left_out, names = names[MOST:], names[:MOST]
    try:
        content = comparing.of_names(replace(board, tables=[table]), names).plain()
    except BenchError as error:
        return Compared(reason=f"Not compared: {error}")
    comparison = content["estimands"][table.track.estimands[0]]
    notes = notes_of((f"{p['a']} - {p['b']}", p["note"]) for p in comparison["pairs"])
    if left_out:
        notes.append(f"only the {MOST} best are compared: benchbcss compare takes any")
    standings = [row["name"] for row in comparison["standings"]]
    grids = [
        _standings(comparison["standings"], content["seeds"]),
        _pairs(comparison["pairs"], content["classes"]),
        wins(
            standings,
            comparison["wins"],
            "In how many ROIs a line is better than a column",
            "model",
        ),
    ]
    return Compared(differences(standings, comparison["pairs"]), grids, notes)


def _standings(rows: Sequence[Mapping[str, Any]], seeds: Mapping[str, Sequence[int]]) -> Grid:
    lines = [
        [
            row["name"],
            "-" if row["point"] is None else f"{row['point']:.3f}",
            row["rank_text"],
            "{} to {}".format(*row["rank_interval"]) if row["rank_interval"] else "-",
            seeds_of(seeds[row["name"]]),
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
    return signed(difference["point"], difference["low"], difference["high"])
