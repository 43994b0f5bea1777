"""Progress bars on a terminal, by rich; what is printed meanwhile stands above them, never torn."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len, set_cell_size

from benchbcss.cli.progress import Display, Row
from benchbcss.names import VisibleStream, printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

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
        ascii_only = not self.console.encoding.startswith("utf")
        picture = drawn(
            list(self.rows.values()),
            self.summaries,
            size.width,
            size.height,
            "..." if ascii_only else "…",
        )
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


def drawn(
    rows: Sequence[Row], summaries: Sequence[str], width: int, height: int, ellipsis: str = "…"
) -> RenderableType:
    """The bars of ``rows`` as lines of less than ``width`` cells, less than ``height`` of them.

    ``summaries`` say the same in ever fewer words: the first that fits is the last line.
    """
    from rich.console import Group
    from rich.text import Text

    summary = next((text for text in summaries if len(text) < width), "")
    room = max(1, height - 1 - bool(summary))
    within = rows if len(rows) <= room else rows[: room - 1]
    infos = len(within) + sum(bool(row.info) for row in within) <= room
    lines: list[RenderableType] = []
    for row, bar in zip(within, _bars(within, width - 1, ellipsis), strict=True):
        lines.append(bar)
        if infos and row.info:
            lines.append(Text("  " + _fitting(row.info, width - 3), "dim"))
    if len(within) < len(rows):
        lines.append(Text(f"and {len(rows) - len(within)} more", "dim"))
    if summary:
        lines.append(Text(summary, "dim"))
    return Group(*lines)


def _fitting(words: Sequence[str], width: int) -> str:
    """As many of ``words`` as fit: a number cut short would be another."""
    text = ""
    for word in map(printable, words):
        longer = f"{text}, {word}" if text else word
        if len(longer) > width:
            break
        text = longer
    return text


@dataclass
class _Cells:
    """A column of the bars: its texts, and the least width that it makes do with."""

    texts: list[str]
    least: int
    right: bool = True

    @property
    def widest(self) -> int:
        return max(map(cell_len, self.texts), default=0)


#: what a line shows, by the room there is
_LAYOUTS = (
    ("label", "doing", "bar", "counted", "speed", "left"),
    ("label", "doing", "bar", "count", "speed", "left"),
    ("label", "doing", "bar", "count", "left"),
    ("label", "doing", "percent", "left"),
    ("label", "stage", "percent", "clock"),
    ("label", "stage", "percent"),
)
_NAME, _BAR, _LONGEST_BAR = 10, 6, 40


def _bars(rows: Sequence[Row], width: int, ellipsis: str) -> list[RenderableType]:
    """One line a row, all in the same columns: as many of them as fit."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    cells = {
        "label": _Cells([printable(row.label) for row in rows], _NAME, right=False),
        "doing": _Cells([printable(row.doing) for row in rows], 30, right=False),
        "stage": _Cells([printable(row.doing).partition(" ")[0] for row in rows], 14, right=False),
        "bar": _Cells([" " * _BAR for _ in rows], _BAR, right=False),
        "counted": _Cells([row.counted for row in rows], 30),
        "count": _Cells([row.beat.count for row in rows], 30),
        "percent": _Cells([row.percent for row in rows], 4),
        "speed": _Cells([row.beat.speed for row in rows], 30),
        "left": _Cells([row.left for row in rows], 30),
        "clock": _Cells([row.left.removesuffix(" left") for row in rows], 12),
    }
    widths = _widths(cells, width)
    lines: list[RenderableType] = []
    for index, row in enumerate(rows):
        grid = Table.grid(padding=(0, 2, 0, 0))
        parts: list[RenderableType] = []
        for name, size in widths.items():
            justify: JustifyMethod = "right" if cells[name].right else "left"
            grid.add_column(width=size, no_wrap=True, overflow="crop", justify=justify)
            if name == "bar" and row.beat.share is not None:
                parts.append(ProgressBar(1.0, row.beat.share, size))
            else:
                parts.append(_short(cells[name].texts[index], size, ellipsis))
        grid.add_row(*parts)
        lines.append(grid)
    return lines


def _widths(cells: dict[str, _Cells], width: int) -> dict[str, int]:
    """The columns of the first layout that fits, in its order. What room is left goes to the label
    and then to the bar."""
    widths: dict[str, int] = {}
    spare = 0
    for names in _LAYOUTS:
        widths = {
            name: min(cells[name].widest, cells[name].least) for name in names if cells[name].widest
        }
        spare = width - sum(widths.values()) - 2 * (len(widths) - 1)
        if spare >= 0:
            break
    for name, most in (("label", cells["label"].widest), ("bar", _LONGEST_BAR)):
        if name in widths:
            more = min(max(0, spare), most - widths[name])
            widths[name] += more
            spare -= more
    return widths


def _short(text: str, width: int, ellipsis: str) -> RenderableType:
    from rich.text import Text

    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width - len(ellipsis))).rstrip() + ellipsis
    return Text(text)
