"""The board of what was asked for, or why there is none: a workspace with other results is not one
without any."""

from __future__ import annotations

from pathlib import Path

from benchbcss.board import model
from benchbcss.board.model import Board
from benchbcss.errors import UnknownNameError
from benchbcss.results.index import suite_with_runs


def load(
    workspace: Path, suite: str | None, track: str | None, seed: int | None, *, glance: bool = False
) -> Board:
    """``model.load`` of a suite's name or file. Raises UnknownNameError where others have results
    and the ``suite``, ``track`` or ``seed`` has none."""
    suite = suite_with_runs(workspace, suite)
    board = model.load(workspace, suite=suite, track=track, seed=seed, glance=glance)
    if board.tables or board.failures or board.unfinished or (track is None and seed is None):
        return board
    everything = model.load(workspace, suite=suite, ties=False, glance=True)
    apart = [row for table in everything.tables for row, _ in table.not_comparable]
    rows = [*everything.rows, *apart]
    if rows and seed is not None and seed not in {row.seed for row in rows}:
        raise UnknownNameError("result of seed", str(seed), {str(row.seed) for row in rows})
    rows = [row for row in rows if seed in (None, row.seed)]
    if rows and track is not None:
        kind = "result in track" if seed is None else f"result of seed {seed} in track"
        raise UnknownNameError(kind, track, {row.track for row in rows})
    return board
