"""A board as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from markupsafe import Markup, escape

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
    costs = cells.costs(board)
    text = _render(
        "page.html.j2",
        tables=[_part(table) for table in board.tables],
        costs=[(costs, [])] if costs else [],
        troubles=cells.troubles(board),
        reported=cells.reported(board),
    )
    stream.write(text + "\n")


def fragment(board: Board) -> str:
    """The standings and verdicts as a part of a page, such as a notebook's."""
    parts = []
    for table in board.tables:
        page = _part(table)
        verdicts = cells.verdicts(table)
        more: list[tuple[Any, Any, list[str]]] = [(verdicts, (), [])] if verdicts else []
        parts.append(
            {
                "title": page.title,
                "about": page.about,
                "sentence": page.sentence,
                "grids": [(page.scores, page.floors, summary.warnings(table)), *more],
            }
        )
    return _render("fragment.html.j2", parts=parts, troubles=cells.troubles(board))


def grids(shown: Sequence[tuple[cells.Grid, Sequence[str]]], notes: Sequence[str] = ()) -> str:
    """Tables, each with the notes below it, as a part of a page."""
    part = {"title": "", "grids": [(grid, (), below) for grid, below in shown]}
    return _render("fragment.html.j2", parts=[part], troubles=list(notes))


def unbroken(escaped: str) -> str:
    """Escaped text whose intervals and shared ranks stay on one line, where lines of a table are
    broken: on paper."""
    return _WHOLE.sub(r'<span class="whole">\g<0></span>', escaped)


_WHOLE = re.compile(r"\[[-+\d., ]+\]|^\d+-\d+$")


def _unbroken(text: str) -> Markup:
    return Markup(unbroken(str(escape(text))))


def _render(name: str, **values: Any) -> str:
    import jinja2

    # Text of plugins, paths and errors is escaped; nothing here is trusted as markup.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchbcss.board.exporters", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["unbroken"] = _unbroken
    return environment.get_template(name).render(statuses=list(cells.MARKS), **values)


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
