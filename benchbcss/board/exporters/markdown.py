"""A board as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from benchbcss.board import cells
from benchbcss.board.model import Board, Table
from benchbcss.names import markdown_cell


def md(board: Board, stream: TextIO) -> None:
    """Write every table, what it cost, failures, and reported numbers apart."""
    for part in board.tables:
        _table(part, stream)
    costs = cells.costs(board)
    if costs:
        stream.write("\n## What it cost\n\n")
        _grid(stream, costs)
    notes = [f"not measured: {m.backend}, {m.track}: {m.reason}" for m in board.not_measured]
    notes += [f"failed: {failure.backend}: {failure.reason}" for failure in board.failures]
    _list(stream, notes)
    if board.reported:
        stream.write("\n## Reported elsewhere (never ranked)\n\n")
        _grid(stream, _reported(board.reported))


def _table(part: Table, stream: TextIO) -> None:
    scores = cells.scores(part)
    stream.write(f"## {scores.title}\n\n")
    _grid(stream, scores)
    _list(stream, cells.notes(part))
    stream.write("\n")
    judged = cells.judged(part)
    if judged:
        columns = ["backend", *(verdict.label for verdict in judged[0].verdicts)]
        lines = [[row.name, *(v.status for v in row.verdicts)] for row in judged]
        _grid(stream, cells.Grid("", columns, lines))
    _list(stream, [*cells.monitored(part), *cells.warnings(part)])
    objects = cells.objects(part)
    if objects:
        stream.write("\n")
        _grid(stream, objects)
        _list(stream, [cells.OBJECTS])
    _list(stream, [f"not comparable: {row.backend}: {why}" for row, why in part.not_comparable])
    promptings = cells.promptings(part)
    if promptings:
        stream.write("\n")
        _grid(stream, promptings)


def _reported(entries: Sequence[dict[str, Any]]) -> cells.Grid:
    columns = ["model", "classes", "prompting", "mean Dice", "vessel", "source"]
    lines = [
        [
            entry["model"],
            str(entry.get("label_set", "")),
            str(entry.get("prompting", "")),
            str(entry.get("mean_dice", "-")),
            str(entry.get("dice", {}).get("blood_vessel", "-")),
            entry["source"],
        ]
        for entry in entries
    ]
    return cells.Grid("", columns, lines)


def _list(stream: TextIO, lines: Sequence[str]) -> None:
    stream.writelines(f"- {markdown_cell(line)}\n" for line in lines)


def _grid(stream: TextIO, grid: cells.Grid) -> None:
    for line in (grid.columns, ["---"] * len(grid.columns), *grid.rows):
        stream.write("| " + " | ".join(markdown_cell(cell) for cell in line) + " |\n")
    stream.write("\n")
