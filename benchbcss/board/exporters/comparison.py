"""A comparison as text: standings and differences by each estimand, and who wins how many ROIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from benchbcss.board.cells import Grid
from benchbcss.board.compare import Compared
from benchbcss.scoring.compare import Comparison, Difference
from benchbcss.tracks.base import number

if TYPE_CHECKING:
    from rich.console import Console

#: columns where the stream is no terminal
WIDTH = 150
LEGEND = (
    "Interval and p-value come from one test; a pair counts as different when p, adjusted for "
    "all pairs (Holm), is below 0.05. Models that cannot be told apart share their ranks."
)


def table(compared: Compared, stream: TextIO) -> None:
    """Write what ``benchbcss compare`` shows."""
    from rich.console import Console

    console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
    for grid, notes in grids(compared):
        _show(console, grid)
        for note in notes:
            console.print(note, markup=False, soft_wrap=True)
    console.print(LEGEND, markup=False)


def grids(compared: Compared) -> list[tuple[Grid, list[str]]]:
    """Every table with the notes below it."""
    parts: list[tuple[Grid, list[str]]] = []
    for name, part in compared.estimands.items():
        parts.append((standings(compared, name, part), []))
        parts.append(differences(compared, part))
    parts.append((wins(next(iter(compared.estimands.values()))), []))
    return parts


def standings(compared: Compared, name: str, part: Comparison) -> Grid:
    title = (
        f"{compared.suite} / {compared.track}: {part.rois} ROIs, mean per-class Dice "
        f"({name.replace('_', ' ')})"
    )
    lines = [
        [
            row.name,
            number(row.point),
            row.rank_text,
            "{} to {}".format(*row.rank_interval) if row.rank_interval else "-",
            ", ".join(map(str, compared.seeds[row.name])),
            number(row.seed_sd),
        ]
        for row in part.standings
    ]
    columns = ["backend", "mean", "rank", "resampled ranks, 95 %", "seeds", "sd over seeds"]
    return Grid(title, columns, lines)


def differences(compared: Compared, part: Comparison) -> tuple[Grid, list[str]]:
    lines, notes = [], []
    for pair in part.pairs:
        head, p = f"{pair.a} - {pair.b}", pair.p_holm
        lines.append(
            [head, _signed(pair.mean), "-" if p is None else f"{p:.2g}"]
            + [_signed(difference) for difference in pair.classes]
            + [pair.verdict]
        )
        if pair.note:
            notes.append(f"  {head}: {pair.note}")
    columns = ["pair", "mean", "p (Holm)", *compared.classes, "better"]
    return Grid("differences with 95 % intervals", columns, lines), notes


def wins(part: Comparison) -> Grid:
    names = [row.name for row in part.standings]
    lines = [
        [name, *("" if i == j else str(n) for j, n in enumerate(line))]
        for i, (name, line) in enumerate(zip(names, part.wins, strict=True))
    ]
    return Grid("in how many ROIs the row is better than the column", ["", *names], lines)


def _show(console: Console, grid: Grid) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=grid.title, title_justify="left")
    for index, name in enumerate(grid.columns):
        shown.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for line in grid.rows:
        shown.add_row(*(Text(cell) for cell in line))
    console.print(shown)


def _signed(difference: Difference) -> str:
    value, low, high = difference.point, difference.low, difference.high
    text = "-" if value is None else f"{value:+.3f}"
    return text if low is None else f"{text} [{low:+.2f}, {high:+.2f}]"
