"""Tables by great-tables: cells and headings are escaped, the page's stylesheet styles them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from benchbcss.board.cells import MARKS, Grid
from benchbcss.board.exporters.page import unbroken
from benchbcss.report import ids

#: great-tables gives each table 7 kB of light colours; the page has its own for both themes
_STYLE = re.compile(r"<style>.*?</style>", re.S)
_TABLE = re.compile(r"<table .*</table>", re.S)


@dataclass(frozen=True)
class Shown:
    """A table as markup, and its title, which names it."""

    id: str
    title: str
    html: Markup
    lines: int


def table(grid: Grid, *, faint: Collection[int] = (), code: Collection[int] = ()) -> Shown:
    """``grid`` with its last key column as the rows' names; ``faint`` are lines in the background
    (baselines), ``code`` columns to copy from. Cells that begin with a verdict are coloured."""
    import great_tables as gt
    import pandas as pd

    name = ids.new("table")
    keys = [f"c{i}" for i in range(len(grid.columns))]
    order = _order(grid)
    frame = pd.DataFrame([[line[i] for i in order] for line in grid.rows], columns=keys, dtype=str)
    # An empty heading names nothing: screen readers say "row".
    titles = {key: grid.columns[i] or "row" for key, i in zip(keys, order, strict=True)}
    escaped: dict[str, Any] = {key: gt.html(_heading(title)) for key, title in titles.items()}
    left = [key for key, i in zip(keys, order, strict=True) if i in grid.left]
    drawn = (
        gt.GT(frame, rowname_col=keys[0], id=name)
        .tab_stubhead(escaped[keys[0]])
        .cols_label(escaped)
        .cols_align("right", columns=[key for key in keys if key not in left])
        .cols_align("left", columns=left)
    )
    for style, where in _styles(grid, order, faint, code):
        drawn = drawn.tab_style(style=gt.style.css(style), locations=where)
    match = _TABLE.search(_STYLE.sub("", drawn.as_raw_html()))
    assert match is not None
    html = match[0].replace("<table ", f'<table aria-label="{escape(grid.title)}" ', 1)
    return Shown(name, grid.title, Markup(_sparing(html)), len(grid.rows))


def _heading(title: str) -> str:
    """Escaped; great-tables reads units in headings, between double braces."""
    return str(escape(title)).replace("{", "&#123;")


def _order(grid: Grid) -> list[int]:
    """The columns, the one that names a row first."""
    first = grid.key - 1
    return [first, *(i for i in range(len(grid.columns)) if i != first)]


def _styles(
    grid: Grid, order: Sequence[int], faint: Collection[int], code: Collection[int]
) -> list[tuple[str, Any]]:
    import great_tables as gt

    lines = sorted(set(faint) & set(range(len(grid.rows))))
    styles: list[tuple[str, Any]] = []
    if lines:
        styles.append(("--faint:1", [gt.loc.body(rows=lines), gt.loc.stub(rows=lines)]))
    for place, i in enumerate(order[1:], start=1):
        if i in code and grid.rows:
            styles.append(("--code:1", gt.loc.body(columns=[f"c{place}"])))
        for status in MARKS:
            rows = [n for n, line in enumerate(grid.rows) if line[i].partition(" (")[0] == status]
            if rows:
                where = gt.loc.body(columns=[f"c{place}"], rows=rows)
                styles.append((f"--status:{status.replace(' ', '-')}", where))
    return styles


def _sparing(html: str) -> str:
    """Our marks as classes, and without what great-tables repeats in every cell."""
    html = re.sub(r'<t[dh] style="[^>]*>', _classes, html)
    html = re.sub(r' data-quarto-[a-z-]+="false"| rowspan="1"| colspan="1"', "", html)
    html = html.replace("gt_col_heading gt_columns_bottom_border ", "")
    html = re.sub(r"\n\s*", "\n", html)
    return re.sub(r"(?<=>)[^<>]+(?=</t[dh]>)", lambda text: unbroken(text[0]), html)


def _classes(match: re.Match[str]) -> str:
    """Of a cell: ``style="--faint:1"`` becomes the class ``faint``."""
    tag, style, rest = re.split(r' style="([^"]*)"', match[0], maxsplit=1)
    marks = [
        f"status {value}" if name == "status" else name
        for name, value in re.findall(r"--(\w+):\s*([\w-]+)", style)
    ]
    return tag + rest.replace('class="', f'class="{" ".join(marks)} ', 1)
