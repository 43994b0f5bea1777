"""The built-in formats of a leaderboard, as registered exporters: ``write(board, stream)``."""

from __future__ import annotations

from typing import TextIO

from benchbcss.board import render
from benchbcss.board.rows import Board


def table(board: Board, stream: TextIO) -> None:
    """For a terminal."""
    render.table(board, stream, reported=board.reported, promptings=board.promptings)


def json(board: Board, stream: TextIO) -> None:
    """Everything, in one document."""
    render.json(board, stream, reported=board.reported)


def csv(board: Board, stream: TextIO) -> None:
    """One line per row and class."""
    render.csv(board, stream, reported=board.reported)


def md(board: Board, stream: TextIO) -> None:
    """GitHub-flavoured Markdown."""
    render.md(board, stream, reported=board.reported)
