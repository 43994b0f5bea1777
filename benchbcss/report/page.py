"""The page: one HTML file that needs nothing else, neither a network nor a script to be read."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from benchbcss import __version__
from benchbcss.board import cells
from benchbcss.board.model import Board
from benchbcss.report import ids, parts, tables

_TEMPLATES = "benchbcss.report.templates"


def html(board: Board) -> str:
    """The whole report of a board. Equal boards over equal run folders give equal text."""
    import jinja2

    ids.restart()
    # Names, paths and errors come from strangers: nothing is trusted as markup but what the
    # drawing libraries escaped.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchbcss.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    seen: set[Path] = set()
    shown = [parts.shown(board, table, seen) for table in board.tables]
    reported = cells.reported(board)
    script = _file("report.js")
    return environment.get_template("report.html.j2").render(
        version=__version__,
        made=max((row.result.created for row in board.rows), default=""),
        tables=shown,
        troubles=cells.troubles(board),
        reported=tables.table(reported) if reported else None,
        style=Markup(_file("report.css")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@lru_cache(maxsize=2)
def _file(name: str) -> str:
    return resources.files(_TEMPLATES).joinpath(name).read_text(encoding="utf-8")
