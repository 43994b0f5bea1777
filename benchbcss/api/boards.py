"""``bb.leaderboard``: a workspace's board as an object, for notebooks and scripts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss import defaults
from benchbcss.board import asked, model
from benchbcss.board.model import Board, Row, Table
from benchbcss.board.unfinished import Failure, Unfinished

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]
#: of columns that may be empty: pandas would make objects of those
_TYPES: dict[Any, Any] = {
    **dict.fromkeys(("rank", "rank_from", "rank_to", "rois_with_class"), "Int64"),
    **dict.fromkeys(("mean_dice", "dice", "low", "high", "effective_rois"), float),
}


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """What ``benchbcss leaderboard`` shows: printed, it is that text; a notebook shows tables."""

    board: Board
    workspace: Path

    @property
    def tables(self) -> list[Table]:
        """One per suite and track."""
        return self.board.tables

    @property
    def rows(self) -> list[Row]:
        """Every comparable result, table by table, best first."""
        return self.board.rows

    @property
    def failures(self) -> list[Failure]:
        return self.board.failures

    @property
    def unfinished(self) -> list[Unfinished]:
        """Runs at work or interrupted."""
        return self.board.unfinished

    @property
    def summary(self) -> str:
        """For each table: which model is best, by how much, whether that is certain."""
        from benchbcss.board import cells, summary

        return "\n".join(f"{cells.title(t)}: {summary.sentence(t)}" for t in self.tables)

    def to_pandas(self) -> pd.DataFrame:
        """One row per model and track: rank, mean Dice with its 95 % interval, Dice of each class
        (``dice.CLASS``), the verdict on each criterion, and what was run. Not ranked are floors and
        what stands apart, whose ``status`` says why."""
        import pandas as pd

        from benchbcss.board.exporters import data

        lines = list(data.overview(self.board))
        columns = list(dict.fromkeys(name for line in lines for name in line))
        frame = pd.DataFrame(lines, columns=columns or data.OVERVIEW)
        return frame.astype({name: _TYPES[name] for name in frame if name in _TYPES})

    def per_class(self) -> pd.DataFrame:
        """One row per model, track, prompting, estimand and class, as the CSV has them."""
        import pandas as pd

        from benchbcss.board.exporters import data

        columns, lines = data.records(self.board)
        frame = pd.DataFrame([line for line in lines if line.get("class")], columns=columns)
        return frame.astype({name: _TYPES[name] for name in frame if name in _TYPES})

    def unmet(self, backends: Iterable[str] = ()) -> list[str]:
        """A sentence on every criterion that the named (default: each best) backends do not meet;
        empty where all are met: what ``benchbcss leaderboard --check`` asks."""
        from benchbcss.board.check import unmet

        return unmet(self.board, _names(backends))

    def save(self, path: PathLike, form: str | None = None) -> Path:
        """Write the board, with everything it knows, in the format of the ending of ``path``
        (.html, .csv, .json, .md, .tex, else a table) or in ``form``; returns the path."""
        from dataclasses import replace

        from benchbcss.board import exporters
        from benchbcss.board.reported import load
        from benchbcss.io import write_output

        target = Path(path)
        shown = replace(self.board, sections=frozenset(model.SECTIONS), reported=load())
        stream = io.StringIO()
        exporters.choose(form, target).call(shown, stream)
        text = stream.getvalue()
        write_output(target, text.encode("utf-8", "backslashreplace"))  # paths hold any bytes
        return target

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        from benchbcss.board.exporters import terminal

        stream = io.StringIO()
        terminal.table(self.board, stream)
        return stream.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        from benchbcss.board.exporters import page

        return page.fragment(self.board)


def leaderboard(
    backends: str | Iterable[str] = (),
    *,
    suite: str | None = None,
    track: str | None = None,
    seed: int | None = None,
    workspace: PathLike | None = None,
) -> Leaderboard:
    """The board of a workspace, of ``backends`` only where they are named; see ``benchbcss
    leaderboard``. Ranks stay those among all; ``suite``, ``track`` and ``seed`` leave out what they
    do not name before anything is ranked. Raises UnknownNameError."""
    from benchbcss.tracks import get

    where = defaults.workspace(workspace)
    if track is not None:
        get(track)
    return Leaderboard(model.only(asked.load(where, suite, track, seed), _names(backends)), where)


def _names(backends: Any) -> list[str]:
    return [backends] if isinstance(backends, str) else list(backends)
