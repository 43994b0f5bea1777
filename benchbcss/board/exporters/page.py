"""A board as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from benchbcss.board import cells, summary
from benchbcss.board.model import Board, Table


@dataclass(frozen=True)
class _Part:
    """A table with its words, and what follows it."""

    title: str
    about: str
    sentence: str
    scores: cells.Grid
    floors: frozenset[int]
    notes: list[str]
    parts: list[tuple[cells.Grid, list[str]]]


def html(board: Board, stream: TextIO) -> None:
    """Write every table, what it cost, runs without a result, and reported numbers apart."""
    import jinja2

    # Text of plugins, paths and errors is escaped; nothing here is trusted as markup.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchbcss.board.exporters", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("page.html.j2")
    costs = cells.costs(board)
    text = template.render(
        tables=[_part(table) for table in board.tables],
        costs=[(costs, [])] if costs else [],
        troubles=cells.troubles(board),
        reported=cells.reported(board),
        statuses=list(cells.MARKS),
    )
    stream.write(text + "\n")


def _part(table: Table) -> _Part:
    notes = [*cells.notes(table), *summary.warnings(table, every=True)]
    notes += [f"not comparable: {row.name}: {why}" for row, why in table.not_comparable]
    return _Part(
        cells.title(table),
        summary.about(table),
        summary.sentence(table),
        cells.scores(table),
        frozenset(index for index, row in enumerate(table.rows) if row.floor),
        notes,
        cells.parts(table),
    )
