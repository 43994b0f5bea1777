"""A board for a terminal: one line a model, in as many columns as there is room for."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TextIO

from benchbcss.board import cells, details, summary
from benchbcss.board.exporters.layout import (
    GAP,
    columns_of,
    lay_out,
    pad,
    shorten,
    shorten_apart,
    shorten_middle,
    together,
    wrap,
)
from benchbcss.board.model import Board, Outcome, Row, Table
from benchbcss.board.unfinished import Failure, Unfinished
from benchbcss.names import printable

#: failures listed before the rest is only counted
LISTED = 5
NARROWEST = 12  # characters of a model's name
WIDEST = 100  # characters of a line of prose
TITLE = 0.6  # of a line at most, where what is said of a run is long as well
VERDICTS = 4  # the place of their column, where there are any
_COLOURS = {"pass": "green", "fail": "red"}


def table(board: Board, stream: TextIO) -> None:
    """Write the standings, what went wrong, and the sections that were asked for."""
    page = Page.of(stream, board.sections)
    if not any((board.tables, board.failures, board.unfinished, board.unreadable)):
        page.say("No results yet. Run: benchbcss run BACKEND")
    for part in board.tables:
        _standings(part, page)
        if "details" in board.sections:
            _details(part, page)
        if "promptings" in board.sections:
            _section(page, cells.promptings(part))
    _unfinished(board, page)
    _failures(board, page)
    for line in cells.not_measured(board):
        page.say(line)
    if remedy := cells.completable(board):
        page.say(remedy)
    _unreadable(board, page)
    if "costs" in board.sections:
        _section(page, cells.costs(board))
    if "reported" in board.sections:
        _section(page, cells.reported(board))
    page.gap()
    page.say(summary.more(board))


@dataclass
class Page:
    """Where text goes: ``width`` columns, in characters that the stream can show."""

    stream: TextIO
    width: int
    colours: bool = False
    sections: frozenset[str] = frozenset()
    blank: bool = True  # whether the last line is

    @classmethod
    def of(cls, stream: TextIO, sections: frozenset[str] = frozenset()) -> Page:
        """As wide as the terminal; $COLUMNS, or 80, for a file or a pipe."""
        if stream.isatty():
            width = shutil.get_terminal_size((80, 24)).columns
        else:
            given = os.environ.get("COLUMNS", "")
            width = int(given) if given.isdecimal() else 80
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        colours = stream.isatty() and not plain
        return cls(stream, max(width, 40), colours, sections)

    @cached_property
    def marks(self) -> dict[str, str]:
        """Verdict -> one character."""
        return cells.MARKS if self._shows("".join(cells.MARKS.values())) else cells.ASCII_MARKS

    @property
    def ellipsis(self) -> str:
        return "…" if self._shows("…") else "..."

    def _shows(self, text: str) -> bool:
        """Whether the stream's encoding has these characters; text kept in memory has them all."""
        try:
            text.encode(self.stream.encoding or "utf-8")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def write(self, text: str = "") -> None:
        """A line as it is."""
        self.blank = not text
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")

    def gap(self) -> None:
        """One empty line between two parts."""
        if not self.blank:
            self.write()

    def say(self, text: str, indent: str = "", style: str = "") -> None:
        """A text in lines of at most the page's width."""
        text = printable(text)
        for line in wrap(indent + text, min(self.width, WIDEST), indent + "  ") if text else []:
            self.write(self.styled(line, style))

    def line(self, text: str) -> None:
        """A text cut to one line."""
        self.write(shorten(printable(text), self.width, self.ellipsis))

    def entry(self, state: str, title: str, detail: str) -> None:
        """A run in one line; of a long title the middle is left out, so that the detail is seen."""
        room = max(
            int(TITLE * self.width) - len(state), self.width - columns_of(state + detail) - 2
        )
        self.line(f"{state}{shorten_middle(printable(title), room, self.ellipsis)}: {detail}")

    def section(self, grid: cells.Grid) -> None:
        """A table below its title."""
        self.say(grid.title, style="bold")
        for line in lay_out(grid, self.width):
            self.write(line)
        self.gap()

    def styled(self, text: str, style: str) -> str:
        if not self.colours or not style:
            return text
        import click

        return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style)


# -- standings -------------------------------------------------------------------------------------


@dataclass
class _Column:
    title: str
    texts: list[str]
    left: bool = False

    @cached_property
    def width(self) -> int:
        return max(map(columns_of, {self.title, *self.texts}))

    @cached_property
    def cells(self) -> list[str]:
        """Its texts, as wide as the column."""
        padded = {text: pad(text, self.width, self.left) for text in set(self.texts)}
        return [padded[text] for text in self.texts]


def _standings(part: Table, page: Page) -> None:
    title = f"{cells.title(part)}: {summary.about(part)}"
    page.say(title, style="bold")
    page.say(summary.sentence(part))
    if part.rows:
        page.gap()
        shown = _choose(part, page)
        page.write(page.styled(_heading(shown), "bold"))
        lines = [_line(shown, index, row, page) for index, row in enumerate(part.rows)]
        page.write("\n".join(lines))
        page.gap()
        _legend(part, page, [column.title for column in shown])
    for text in summary.warnings(part, "details" in page.sections):
        page.say(text)
    page.gap()


def _choose(part: Table, page: Page) -> list[_Column]:
    """The columns that everyone needs, and of the others as many as fit."""
    rows = part.rows

    def column(title: str, cell: Callable[[Row], str], left: bool = False) -> _Column:
        return _Column(title, [cell(row) for row in rows], left)

    head = [
        column("rank", lambda row: "floor" if row.floor else row.rank_text or "-", True),
        column("model", lambda row: row.name, True),
        column("mean Dice", lambda row: cells.mean(row.scores.headline.per_roi)),
        column("95 % interval", _interval, True),
    ]
    criteria = cells.criteria(part)
    if criteria:
        head.append(
            column(" ".join(str(i + 1) for i in range(len(criteria))), _marks(page, criteria), True)
        )
    head.append(column("ROIs", lambda row: str(row.scores.rois)))
    left = page.width - sum(c.width + len(GAP) for c in head) + len(GAP)
    if left < 0:
        room = max(NARROWEST, head[1].width + left)
        head[1] = _Column(head[1].title, shorten_apart(head[1].texts, room, page.ellipsis), True)
        left = page.width - sum(c.width + len(GAP) for c in head) + len(GAP)
    chosen = []
    for extra in cells.extra_columns(part):
        if columns_of(extra.title) + len(GAP) > left:
            continue
        candidate = _Column(extra.title, [extra.cell(row.scores) for row in rows])
        if candidate.width + len(GAP) <= left:
            chosen.append(candidate)
            left -= candidate.width + len(GAP)
    return [*head, *chosen]


def _interval(row: Row) -> str:
    headline = row.scores.headline.per_roi
    return cells.interval(headline.mean_interval, headline.mean) or "-"


def _marks(page: Page, criteria: Sequence[str]) -> Callable[[Row], str]:
    """Each below the number of its criterion."""
    marks = page.marks

    @cache
    def shown(outcome: Outcome) -> str:
        given = {label: marks[status] for _, label, status in outcome}
        numbered = enumerate(criteria, start=1)
        return " ".join(pad(given.get(label, ""), len(str(n))) for n, label in numbered)

    return lambda row: "" if row.floor else shown(row.outcome)


def _heading(columns: Sequence[_Column]) -> str:
    return GAP.join(pad(column.title, column.width, column.left) for column in columns).rstrip()


def _line(columns: Sequence[_Column], index: int, row: Row, page: Page) -> str:
    """Of one row: floors grey, verdicts in colour."""
    parts = [column.cells[index] for column in columns]
    if row.floor or not page.colours:
        return page.styled(GAP.join(parts).rstrip(), "bright_black")
    for status, colour in _COLOURS.items():
        mark = page.marks[status]
        parts[VERDICTS] = parts[VERDICTS].replace(mark, page.styled(mark, colour))
    return GAP.join(parts).rstrip()


def _legend(part: Table, page: Page, titles: Sequence[str]) -> None:
    criteria = cells.criteria(part)
    if criteria:
        numbered = [f"{i + 1} {label}" for i, label in enumerate(criteria)]
        page.say("criteria: " + ", ".join(together(text) for text in numbered))
        words = [f"{mark} {status}" for status, mark in page.marks.items()]
        page.say("marks: " + ", ".join(together(text) for text in words))
    if any(row.tied and row.tied[0] != row.tied[1] for row in part.rows):
        page.say("ranks such as 1-3 are shared by models without a significant difference")
    if any(row.scores.prompting for row in part.rows) or "tissue Dice" in titles:
        page.say(part.track.caveat)


# -- what went wrong -------------------------------------------------------------------------------


def _unfinished(board: Board, page: Page) -> None:
    for run in board.unfinished:
        page.entry(f"{run.state}: ", _title(run, board), run.detail)
    if any(run.state == "interrupted" for run in board.unfinished):
        page.write("  the same command continues what was interrupted")


def _failures(board: Board, page: Page) -> None:
    """A line each; then where their logs are, and how one is taken off the board."""
    if not board.failures:
        return
    shown = board.failures if "details" in board.sections else board.failures[:LISTED]
    page.write("failed, newest first:")
    for failure in shown:
        page.entry("  ", _title(failure, board), failure.line)
    if len(shown) < len(board.failures):
        page.write(f"  and {len(board.failures) - len(shown)} more: --details")
    first = board.failures[0]
    page.write(f"  log of the first: {_near(os.path.join(first.run, 'log.txt'))}")
    page.write(f"  dismiss it: benchbcss runs rm {first.id}{_workspace(first.run)}")


def _unreadable(board: Board, page: Page) -> None:
    """Records that say nothing: which, why, and what to do. Their reasons name the file first."""
    if not board.unreadable:
        return
    shown = board.unreadable if "details" in board.sections else board.unreadable[:LISTED]
    page.write("records that cannot be read:")
    for text in shown:
        path, _, reason = text.partition("/result.json: ")
        page.entry("  ", " ".join(Path(path).parts[-2:]), reason or "it cannot be read")
    if len(shown) < len(board.unreadable):
        page.write(f"  and {len(board.unreadable) - len(shown)} more: --details")
    page.write("  the same benchbcss run makes one again; benchbcss runs rm removes it")


def _workspace(run: str) -> str:
    """The option that a command needs to find ``run``; '' where it looks there by itself."""
    workspace = Path(run).parents[3]
    usual = os.environ.get("BENCHBCSS_WORKSPACE") or "benchbcss-workspace"
    if os.path.realpath(workspace) == os.path.realpath(usual):
        return ""
    return f" --workspace {shlex.quote(_near(str(workspace)))}"


def _near(path: str) -> str:
    """From the current folder, where it lies below it."""
    near = os.path.relpath(path)
    return printable(path if near.startswith(os.pardir) else near)


def _title(run: Unfinished | Failure, board: Board) -> str:
    """The suite is named where there are several."""
    runs: list[Unfinished | Failure] = [*board.failures, *board.unfinished]
    suites = {item.suite for item in runs} | {table.suite for table in board.tables}
    return run.title if len(suites) > 1 else f"{run.backend} {run.id}"


# -- on demand -------------------------------------------------------------------------------------


def _section(page: Page, grid: cells.Grid | None) -> None:
    if grid is not None:
        page.section(grid)


def _details(part: Table, page: Page) -> None:
    _section(page, cells.scores(part))
    page.say(cells.ESTIMANDS)
    page.say(part.track.caveat)
    page.gap()
    objects = cells.objects(part)
    if objects:
        _section(page, objects)
        page.say(cells.OBJECTS)
        page.gap()
    for text in [*cells.reasons(part), *cells.monitored(part), *cells.warnings(part)]:
        page.say(text)
    for row, why in part.not_comparable:
        page.say(f"not comparable: {row.name}: {why}")
    page.gap()
    for row in part.rows:
        for text in details.lines_of(row):
            page.say(text.lstrip(), " " * (len(text) - len(text.lstrip())))
        page.gap()
