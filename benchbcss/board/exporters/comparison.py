"""A comparison as text: standings and differences by each estimand, and who wins how many ROIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from benchbcss.board.cells import Grid
from benchbcss.board.compare import Compared
from benchbcss.board.exporters.terminal import Page
from benchbcss.scoring.compare import Comparison, Difference
from benchbcss.tracks.base import number

LEGEND = (
    "Interval and p-value come from one test; a pair counts as different when p, adjusted for "
    "all pairs (Holm), is below 0.05. Models that do not differ significantly share ranks."
)


def table(compared: Compared, stream: TextIO) -> None:
    """Write what ``benchbcss compare`` shows, in blocks where the stream is narrow."""
    page = Page.of(stream)
    for grid, notes in grids(compared):
        page.section(grid)
        for note in notes:
            page.say(note)
        if notes:
            page.gap()
    page.say(LEGEND)


def grids(compared: Compared) -> list[tuple[Grid, list[str]]]:
    """Every table with the notes below it."""
    parts: list[tuple[Grid, list[str]]] = []
    for name, part in compared.estimands.items():
        parts.append((standings(compared, name, part), []))
        parts.append(differences(compared, part))
    first = next(iter(compared.estimands.values()))
    parts.append((wins([row.name for row in first.standings], first.wins), []))
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
            seeds_of(compared.seeds[row.name]),
            number(row.seed_sd),
        ]
        for row in part.standings
    ]
    columns = ["backend", "mean", "rank", "resampled ranks, 95 %", "seeds", "sd over seeds"]
    return Grid(title, columns, lines)


def differences(compared: Compared, part: Comparison) -> tuple[Grid, list[str]]:
    lines = []
    for pair in part.pairs:
        head, p = f"{pair.a} - {pair.b}", pair.p_holm
        lines.append(
            [head, _signed(pair.mean), "-" if p is None else f"{p:.2g}"]
            + [_signed(difference) for difference in pair.classes]
            + [pair.verdict]
        )
    columns = ["pair", "mean", "p (Holm)", *compared.classes, "better"]
    notes = notes_of((f"{pair.a} - {pair.b}", pair.note) for pair in part.pairs)
    return Grid("differences with 95 % intervals", columns, lines), notes


def notes_of(pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    """Of the names of all pairs and why they are ties: those of one reason together."""
    pairs = list(pairs)
    reasons: dict[str, list[str]] = {}
    for name, note in pairs:
        if note:
            reasons.setdefault(note, []).append(name)
    return [
        f"{'every pair' if len(names) == len(pairs) > 1 else ', '.join(names)}: {note}"
        for note, names in reasons.items()
    ]


def wins(
    names: Sequence[str],
    counts: Sequence[Sequence[int]],
    title: str = "in how many ROIs the row is better than the column",
    corner: str = "",
) -> Grid:
    """``counts[i][j]``: in how many ROIs ``names[i]`` is better than ``names[j]``."""
    lines = [
        [name, *("" if i == j else str(count) for j, count in enumerate(line))]
        for i, (name, line) in enumerate(zip(names, counts, strict=True))
    ]
    return Grid(title, [corner, *names], lines)


def seeds_of(numbers: Sequence[int]) -> str:
    """'seed 0', 'seeds 0, 1, 2': a number alone would be taken for how many there are."""
    return f"seed{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"


def signed(value: float | None, low: float | None, high: float | None) -> str:
    """A difference with its interval, where there is one."""
    text = "-" if value is None else f"{value:+.3f}"
    return text if low is None else f"{text} [{low:+.2f}, {high:+.2f}]"


def _signed(difference: Difference) -> str:
    return signed(difference.point, difference.low, difference.high)
