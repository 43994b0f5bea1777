"""A board for a terminal, by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from benchbcss.board import cells
from benchbcss.board.model import Board, Table


def table(board: Board, stream: TextIO) -> None:
    """Write every table, what it cost, failures, and reported numbers apart."""
    from rich.console import Console

    width = None if stream.isatty() else 170
    console = Console(file=stream, width=width, highlight=False)
    if not board.tables and not board.failures:
        console.print("No results yet. Run: benchbcss run BACKEND", markup=False)
    for part in board.tables:
        _table(part, console, board.promptings)
    costs = cells.costs(board)
    if costs:
        _grid(console, costs)
        console.print()
    lines = [f"failed: {f.backend} ({f.suite}): {f.reason}" for f in board.failures]
    lines += [
        f"not measured: {m.backend} ({m.suite}, {m.track}): {m.reason}" for m in board.not_measured
    ]
    lines += [f"unreadable: {path}" for path in board.unreadable]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    if board.reported:
        _grid(console, _reported(board.reported))


def _table(part: Table, console: Any, promptings: bool) -> None:
    def say(lines: Sequence[str]) -> None:
        for line in lines:
            console.print(f"  {line}", markup=False, soft_wrap=True)

    _grid(console, cells.scores(part))
    say(cells.notes(part))
    verdicts = cells.verdicts(part)
    if verdicts:
        _grid(console, verdicts)
        for line in cells.reasons(part):
            console.file.write(f"  {line}\n")
    say([*cells.monitored(part), *cells.warnings(part)])
    objects = cells.objects(part)
    if objects:
        _grid(console, objects)
        say([cells.OBJECTS])
    others = cells.promptings(part) if promptings else None
    if others:
        _grid(console, others)
    say([f"not comparable: {row.backend}: {why}" for row, why in part.not_comparable])
    console.print()


def _reported(entries: Sequence[dict[str, Any]]) -> cells.Grid:
    columns = ["model", "classes", "prompting", "mean Dice", "vessel", "n", "source"]
    lines = [
        [
            entry["model"],
            str(entry.get("label_set", "")),
            str(entry.get("prompting", "")),
            str(entry.get("mean_dice", "-")),
            str(entry.get("dice", {}).get("blood_vessel", "-")),
            str(entry.get("n", "")),
            entry["source"],
        ]
        for entry in entries
    ]
    title = "Reported elsewhere: never ranked, not measured by this harness"
    return cells.Grid(title, columns, lines, range(len(columns)))


def _grid(console: Any, grid: cells.Grid) -> None:
    """rich needs a second for a thousand rows, more than everything else together: long tables are
    aligned plainly."""
    if len(grid.rows) <= 100:
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=grid.title, title_justify="left")
        for index, name in enumerate(grid.columns):
            justify: Any = "left" if index in grid.left else "right"
            shown.add_column(name, justify=justify, overflow="fold")
        for row in grid.rows:
            shown.add_row(*(Text(cell) for cell in row))
        console.print(shown)
        return
    lines = (grid.columns, *grid.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(grid.columns))]
    console.file.write(grid.title + "\n")
    for line in lines:
        aligned = [
            cell.ljust(width) if index in grid.left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        console.file.write("  ".join(aligned).rstrip() + "\n")
