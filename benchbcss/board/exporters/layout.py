"""Text in columns of a given width: columns are chosen and rows wrapped, words are never broken.

Widths are those of a terminal: an ideograph takes two columns, a combining mark none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbcss.board.cells import Grid

GAP = "  "
_HARD = "\N{NO-BREAK SPACE}"
#: a column of text, or the heading of one of numbers, wider than this is wrapped between its words
WIDEST, WIDEST_HEADING = 32, 24
#: of narrow pages, less is text: what is left to columns beside it, and the least that it is given
BESIDE, NARROWEST = 48, 16


def columns_of(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def pad(text: str, width: int, left: bool = True) -> str:
    """``text`` in ``width`` columns, aligned left or right."""
    space = " " * (width - columns_of(text))
    return text + space if left else space + text


def lay_out(grid: Grid, width: int) -> list[str]:
    """The lines of ``grid``; where it is wider than ``width``, in blocks one below the other, each
    with the ``grid.key`` first columns."""
    lines: list[str] = []
    for block in _blocks(grid, width):
        if lines:
            lines.append("")
        lines += block
    return lines


def _blocks(grid: Grid, width: int) -> Iterator[list[str]]:
    widest = min(WIDEST, max(NARROWEST, width - BESIDE))
    widths = [_width(grid, i, widest) for i in range(len(grid.columns))]
    keys = list(range(grid.key))
    used = sum(widths[i] + len(GAP) for i in keys)
    chosen: list[int] = []
    total = used
    for i in range(grid.key, len(grid.columns)):
        if chosen and total + widths[i] > width:
            yield _aligned(grid, [*keys, *chosen], widths, width)
            chosen, total = [], used
        chosen.append(i)
        total += widths[i] + len(GAP)
    yield _aligned(grid, [*keys, *chosen], widths, width)


def _width(grid: Grid, column: int, most_text: int) -> int:
    """Of a column of text, what its words need; of one of numbers, what these need whole."""
    title, cells = grid.columns[column], [line[column] for line in grid.rows]
    widest = max(map(columns_of, cells), default=0)
    if column in grid.left:
        most = max(most_text, _longest_word([title, *cells]))
        return min(most, max(widest, columns_of(title)))
    return max(widest, min(columns_of(title), max(WIDEST_HEADING, _longest_word([title]))))


def _longest_word(texts: Sequence[str]) -> int:
    return max((columns_of(word) for text in texts for word in text.split()), default=0)


def _aligned(grid: Grid, columns: Sequence[int], narrowest: Sequence[int], width: int) -> list[str]:
    """Text that was to be wrapped is given what room is left."""
    widths = list(narrowest)
    left = width - sum(widths[i] for i in columns) - len(GAP) * (len(columns) - 1)
    for i in (i for i in columns if i in grid.left):
        texts = (grid.columns[i], *(line[i] for line in grid.rows))
        more = min(left, max(map(columns_of, texts)) - widths[i])
        if more > 0:
            widths[i] += more
            left -= more
    lines = []
    for line in (grid.columns, *grid.rows):
        cells = [wrap(line[i], widths[i]) or [""] for i in columns]
        for level in range(max(len(cell) for cell in cells)):
            parts = []
            for i, cell in zip(columns, cells, strict=True):
                text = cell[level] if level < len(cell) else ""
                parts.append(pad(text, widths[i], i in grid.left))
            lines.append(GAP.join(parts).rstrip())
    return lines


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width`` unless a word is longer; those after the first are indented."""
    lines: list[str] = []
    line = space = ""
    for part in re.findall(r"[ \t\r\n]+|[^ \t\r\n]+", text):
        if part.isspace() and part[0] != _HARD:
            space = " " * len(part)
        elif line and columns_of(line + space + part) > width:
            lines.append(line)
            line, space = indent + part, ""
        else:
            line, space = line + space + part, ""
    return [done.replace(_HARD, " ") for done in ([*lines, line] if line else lines)]


def together(text: str) -> str:
    """A text that ``wrap`` does not break."""
    return text.replace(" ", _HARD)


def shorten(text: str, width: int, mark: str = "...") -> str:
    """Cut at ``width``, with a mark where something was cut."""
    if columns_of(text) <= width:
        return text
    return _beginning(text, width - columns_of(mark)).rstrip() + mark


def shorten_middle(text: str, width: int, mark: str = "...") -> str:
    """Cut in the middle, for names that begin alike and differ at the end."""
    if columns_of(text) <= width:
        return text
    room = max(0, width - columns_of(mark))
    tail = _beginning(text[::-1], room // 2)[::-1]
    return _beginning(text, room - room // 2) + mark + tail


def shorten_apart(names: Sequence[str], width: int, mark: str = "...") -> list[str]:
    """Names cut so that none look alike: at the end; where two would, such as those of two seeds,
    in the middle; where they still would, with a number."""
    cuts: tuple[Callable[[str, int, str], str], ...] = (shorten, shorten_middle)
    for cut in cuts:
        short = [cut(name, width, mark) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    numbers = {name: f" {place}" for place, name in enumerate(dict.fromkeys(names), start=1)}
    alike = Counter(dict(zip(names, short, strict=True)).values())
    return [
        shorten_middle(name, width - len(numbers[name]), mark) + numbers[name]
        if alike[cut_name] > 1
        else cut_name
        for name, cut_name in zip(names, short, strict=True)
    ]


def _beginning(text: str, width: int) -> str:
    """As much of ``text`` as ``width`` columns hold."""
    if text.isascii():
        return text[: max(0, width)]
    used = 0
    for place, letter in enumerate(text):
        used += _columns(letter)
        if used > width:
            return text[:place]
    return text
