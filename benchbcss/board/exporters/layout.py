"""Text in columns of a given width: columns are chosen and rows wrapped, words are never broken."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from benchbcss.board.cells import Grid

GAP = "  "
_HARD = "\N{NO-BREAK SPACE}"
#: a column of text wider than this is wrapped between its words
WIDEST = 32


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
    lines = (grid.columns, *grid.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(grid.columns))]
    widths = [
        min(size, max(WIDEST, _longest_word(lines, i))) if i in grid.left else size
        for i, size in enumerate(widths)
    ]
    keys = list(range(grid.key))
    used = sum(widths[i] + len(GAP) for i in keys)
    chosen: list[int] = []
    total = used
    for i in range(grid.key, len(grid.columns)):
        if chosen and total + widths[i] > width:
            yield _aligned(grid, [*keys, *chosen], widths)
            chosen, total = [], used
        chosen.append(i)
        total += widths[i] + len(GAP)
    yield _aligned(grid, [*keys, *chosen], widths)


def _longest_word(lines: Sequence[Sequence[str]], column: int) -> int:
    return max((len(word) for line in lines for word in line[column].split()), default=0)


def _aligned(grid: Grid, columns: Sequence[int], widths: Sequence[int]) -> list[str]:
    lines = []
    for line in (grid.columns, *grid.rows):
        cells = [wrap(line[i], widths[i]) or [""] for i in columns]
        for level in range(max(len(cell) for cell in cells)):
            parts = []
            for i, cell in zip(columns, cells, strict=True):
                text = cell[level] if level < len(cell) else ""
                parts.append(text.ljust(widths[i]) if i in grid.left else text.rjust(widths[i]))
            lines.append(GAP.join(parts).rstrip())
    return lines


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width`` unless a word is longer; those after the first are indented."""
    if len(text) <= width:
        return [text.replace(_HARD, " ")] if text else []
    lines = textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_HARD, " ") for line in lines]


def together(text: str) -> str:
    """A text that ``wrap`` does not break."""
    return text.replace(" ", _HARD)


def shorten(text: str, width: int, mark: str = "...") -> str:
    """Cut at ``width``, with a mark where something was cut."""
    return text if len(text) <= width else text[: max(0, width - len(mark))].rstrip() + mark


def shorten_middle(text: str, width: int, mark: str = "...") -> str:
    """Cut in the middle, for names that begin alike and differ at the end."""
    if len(text) <= width:
        return text
    room = max(0, width - len(mark))
    tail = room // 2
    return text[: room - tail] + mark + (text[-tail:] if tail else "")
