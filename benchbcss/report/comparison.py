"""Which differences hold, pair by pair: what ``benchbcss compare`` says, for one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchbcss.board import compare as comparing
from benchbcss.board.cells import Grid
from benchbcss.board.exporters import comparison
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
        outcome = comparing.of_names(replace(board, tables=[table]), names)
    except BenchError as error:
        return Compared(reason=f"Not compared: {error}")
    name = table.track.estimands[0]
    part = outcome.estimands[name]
    pairs, notes = comparison.differences(outcome, name, part)
    if left_out:
        notes.append(f"only the {MOST} best are compared: benchbcss compare takes any")
    standings = replace(comparison.standings(outcome, name, part), title="standings over all seeds")
    grids = [standings, pairs, comparison.wins(part)]
    return Compared(differences([row.name for row in part.standings], part.pairs), grids, notes)
