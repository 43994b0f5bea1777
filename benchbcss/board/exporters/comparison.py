"""A comparison as text: standings and differences by each estimand, and who wins how many ROIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from benchbcss.board.cells import Grid
from benchbcss.board.compare import Compared
from benchbcss.board.exporters.terminal import Page
from benchbcss.names import estimand
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
        parts.append(differences(compared, name, part))
    parts.append((wins(next(iter(compared.estimands.values()))), []))
    return parts


def standings(compared: Compared, name: str, part: Comparison) -> Grid:
    title = (
        f"{compared.suite} / {compared.track}: {part.rois} ROIs, mean per-class Dice "
        f"({estimand(name)})"
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
    columns = ["model", "mean Dice", "rank", "resampled ranks, 95 %", "seeds", "sd over seeds"]
    return Grid(title, columns, lines)


def differences(compared: Compared, name: str, part: Comparison) -> tuple[Grid, list[str]]:
    lines = []
    for pair in part.pairs:
        head, p = f"{pair.a} - {pair.b}", pair.p_holm
        lines.append(
            [head, _signed(pair.mean), "-" if p is None else f"{p:.2g}", pair.verdict]
            + [_signed(difference) for difference in pair.classes]
        )
    columns = ["pair", "mean Dice", "p (Holm)", "better", *compared.classes]
    notes = notes_of((f"{pair.a} - {pair.b}", pair.note) for pair in part.pairs)
    title = f"differences with 95 % intervals ({estimand(name)})"
    return Grid(title, columns, lines, (0, 3)), notes


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


def wins(part: Comparison) -> Grid:
    names = [row.name for row in part.standings]
    lines = [
        [name, *("" if i == j else str(count) for j, count in enumerate(line))]
        for i, (name, line) in enumerate(zip(names, part.wins, strict=True))
    ]
    title = "in how many ROIs the row is better than the column"
    return Grid(title, ["model", *names], lines)


def seeds_of(numbers: Sequence[int]) -> str:
    """'seed 0', 'seeds 0, 1, 2': a number alone would be taken for how many there are."""
    return f"seed{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"


def _signed(difference: Difference) -> str:
    """With its interval, where there is one: of two digits, or three where with two the difference
    would seem outside, or an end that is not 0 would seem to be."""
    value, low, high = difference.point, difference.low, difference.high
    text = plus(value, 3)
    if value is None or low is None or high is None:
        return text
    inside = round(low, 2) <= round(value, 3) <= round(high, 2)
    digits = 2 if inside and all(round(end, 2) or not round(end, 3) for end in (low, high)) else 3
    return f"{text} [{plus(low, digits)}, {plus(high, digits)}]"


def plus(value: float | None, digits: int = 2) -> str:
    """With its sign, unless it is 0 as it is shown; '-' where there is none."""
    if value is None:
        return "-"
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]
