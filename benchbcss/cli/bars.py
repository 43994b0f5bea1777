"""Progress bars on a terminal, by rich; what is printed meanwhile stands above them, never torn."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from benchbcss.cli.progress import Display, Row
from benchbcss.names import VisibleStream, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

#: seconds between two pictures
REDRAW = 0.25


class Bars(Display):
    """A bar for each run at work, drawn over by the next picture; what is printed meanwhile, by
    whomever, stands above them in whole lines.

    The cursor is not hidden, so that a terminal is usable however this process ends.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        super().__init__()
        beneath = getattr(stream, "beneath", stream)
        self.console = Console(file=beneath, highlight=False, emoji=False, markup=False)
        self._live: Any = None
        self._drawn = 0.0
        self._before: tuple[TextIO, TextIO] | None = None

    def __enter__(self) -> Bars:
        self._before = (sys.stdout, sys.stderr)
        sys.stderr = _Above(self, sys.stderr)  # type: ignore[assignment]
        if sys.stdout.isatty():
            sys.stdout = _Above(self, sys.stdout)  # type: ignore[assignment]
        return self

    def __exit__(self, *error: object) -> None:
        self._erase()
        if self._before is not None:
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, _Above):
                    stream.finish()
            sys.stdout, sys.stderr = self._before
            self._before = None

    def update(self, key: Any, row: Row) -> None:
        super().update(key, row)
        if time.monotonic() - self._drawn >= REDRAW:
            self.draw()

    def remove(self, key: Any) -> None:
        super().remove(key)
        if self.rows:
            self.draw()
        else:
            self._erase()

    def draw(self) -> None:
        self._drawn = time.monotonic()
        size = self.console.size
        picture = drawn(list(self.rows.values()), self.summary, size.width, size.height)
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                picture,
                console=self.console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self.console.show_cursor = lambda show=True: True  # type: ignore[method-assign]
            self._live.start()
        self._live.update(picture, refresh=True)

    def above(self, line: str) -> None:
        """Print a whole line above the bars."""
        from rich.text import Text

        self.console.print(Text.from_ansi(line), soft_wrap=True)

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Above(VisibleStream):
    """In place of a standard stream while there are bars: whole lines go above them."""

    def __init__(self, bars: Bars, stream: Any) -> None:
        super().__init__(stream)
        self._bars, self._rest = bars, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._bars.above(self.shown(line.rpartition("\r")[2]))
        return len(text)

    def finish(self) -> None:
        """What was begun and not ended is printed where it stands."""
        if self._rest:
            self._stream.write(self._rest)
            self._rest = ""


def drawn(rows: Sequence[Row], summary: str, width: int, height: int) -> RenderableType:
    """The bars of ``rows`` as lines of at most ``width`` cells, at most ``height`` - 1 of them."""
    from rich.console import Group
    from rich.text import Text

    room = max(1, height - 1 - bool(summary))
    shown_rows = rows if len(rows) <= room else rows[: room - 1]
    infos = len(shown_rows) + sum(bool(row.info) for row in shown_rows) <= room
    lines: list[RenderableType] = []
    for row, bar in zip(shown_rows, _bars(shown_rows, width - 1), strict=True):
        lines.append(bar)
        if infos and row.info:
            lines.append(_cut(f"  {printable(row.info)}", width, "dim"))
    if len(shown_rows) < len(rows):
        lines.append(_cut(f"and {len(rows) - len(shown_rows)} more", width, "dim"))
    if summary:
        lines.append(_cut(summary, width, "dim"))
    return Group(*lines) if lines else Text("")


def _cut(text: str, width: int, style: str = "") -> RenderableType:
    from rich.text import Text

    line = Text(text, style=style, no_wrap=True, overflow="crop")
    line.truncate(width - 1)
    return line


def _bars(rows: Sequence[Row], width: int) -> list[RenderableType]:
    """One line a row, all in the same columns: as many of them as fit."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    cells: dict[str, list[str]] = {
        "label": [printable(row.label) for row in rows],
        "doing": [printable(row.doing) for row in rows],
        "count": [row.count for row in rows],
        "percent": [row.percent for row in rows],
        "speed": [row.beat.speed for row in rows],
        "left": [row.left for row in rows],
    }
    widths = {name: max(map(len, texts), default=0) for name, texts in cells.items()}
    widths["label"] = min(widths["label"], max(8, width // 4))
    widths["doing"] = min(widths["doing"], max(12, width // 3))
    widths["bar"] = 8
    layouts = (
        ("label", "doing", "bar", "count", "speed", "left"),
        ("label", "doing", "bar", "count", "left"),
        ("label", "doing", "bar", "percent", "left"),
        ("label", "doing", "percent", "left"),
        ("label", "doing", "percent"),
    )
    for names in layouts:
        chosen = [name for name in names if widths[name]]
        spare = width - sum(widths[name] + 2 for name in chosen) + 2
        if spare >= 0:
            break
    widths["bar"] += max(0, min(spare, 32))
    lines: list[RenderableType] = []
    for index, row in enumerate(rows):
        grid = Table.grid(padding=(0, 2, 0, 0))
        parts: list[Any] = []
        for name in chosen:
            right = name in ("count", "percent", "speed", "left")
            grid.add_column(
                width=widths[name],
                no_wrap=True,
                overflow="crop",
                justify="right" if right else "left",
            )
            if name == "bar":
                share = row.beat.share
                parts.append("" if share is None else ProgressBar(1.0, share, widths["bar"]))
            else:
                parts.append(_cut(cells[name][index], widths[name] + 1))
        grid.add_row(*parts)
        lines.append(grid)
    return lines
