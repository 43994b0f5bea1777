"""A board as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from benchbcss.board import cells, summary
from benchbcss.board.model import Board, Table
from benchbcss.names import markdown_cell, markdown_line


def md(board: Board, stream: TextIO) -> None:
    """Write every table, what it cost, runs without a result, and reported numbers apart."""
    if not board.tables:
        stream.write("No results yet.\n\n")
    for part in board.tables:
        _table(part, stream)
    costs = cells.costs(board)
    if costs:
        _heading(stream, costs)
        _grid(stream, costs)
    _list(stream, cells.troubles(board))
    reported = cells.reported(board)
    if reported:
        _heading(stream, reported)
        _grid(stream, reported)


def _table(part: Table, stream: TextIO) -> None:
    stream.write(f"## {markdown_cell(cells.title(part))}\n\n")
    about, sentence = summary.about(part), summary.sentence(part)
    stream.write(f"{markdown_line(about)}.\n\n**{markdown_cell(sentence)}**\n\n")
    _grid(stream, cells.scores(part))
    _list(stream, [*cells.notes(part), *summary.warnings(part, every=True)])
    for grid, notes in cells.parts(part):
        _heading(stream, grid)
        _grid(stream, grid)
        _list(stream, notes)
    _list(stream, [f"not comparable: {row.name}: {why}" for row, why in part.not_comparable])


def _heading(stream: TextIO, grid: cells.Grid) -> None:
    stream.write(f"### {markdown_cell(grid.title[:1].upper() + grid.title[1:])}\n\n")


def _list(stream: TextIO, lines: Sequence[str]) -> None:
    stream.writelines(f"- {markdown_line(line)}\n" for line in lines)
    if lines:
        stream.write("\n")


def _grid(stream: TextIO, grid: cells.Grid) -> None:
    sides = ["---" if i in grid.left else "---:" for i in range(len(grid.columns))]
    texts = [[markdown_cell(cell) for cell in line] for line in (grid.columns, *grid.rows)]
    for line in (texts[0], sides, *texts[1:]):
        stream.write("| " + " | ".join(line) + " |\n")
    stream.write("\n")
