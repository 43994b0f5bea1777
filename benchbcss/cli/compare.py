"""``benchbcss compare``: which differences between backends hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from benchbcss.cli.main import format_option, one_table_options, workspace_option


@click.command()
@click.argument("backends", nargs=-1, required=True, metavar="A B [BACKEND]...")
@one_table_options
@format_option
@workspace_option
def compare(
    backends: tuple[str, ...], suite: str | None, track: str | None, form: str, workspace: Path
) -> None:
    """Compare A, B and others pairwise, on the same ROIs."""
    if len(set(backends)) < 2:
        raise click.UsageError("Name at least two different backends.")
    from benchbcss.board import compare as comparing
    from benchbcss.board import model

    board = model.load(workspace, suite=suite, track=track)
    part, entries, seeds = comparing.choose(board, list(dict.fromkeys(backends)))
    comparison = comparing.report(part, entries, seeds)
    if form == "json":
        click.echo(json.dumps(comparison, indent=1, allow_nan=False))
    else:
        _show(comparison)


def _show(comparison: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150, highlight=False)
    for name, part in comparison["estimands"].items():
        _standings(console, comparison, name, part)
        _differences(console, comparison, part)
    _wins(console, next(iter(comparison["estimands"].values())))
    console.print(
        "Interval and p-value come from one test; a pair counts as different when p, adjusted for "
        "all pairs (Holm), is below 0.05. Models that cannot be told apart share their ranks.",
        markup=False,
    )


def _standings(console: Any, comparison: dict[str, Any], name: str, part: dict[str, Any]) -> None:
    title = (
        f"{comparison['suite']} / {comparison['track']}: {part['rois']} ROIs, mean per-class Dice "
        f"({name.replace('_', ' ')})"
    )
    lines = [
        [
            row["name"],
            _number(row["point"]),
            row["rank_text"],
            "{} to {}".format(*row["rank_interval"]) if row["rank_interval"] else "-",
            ", ".join(map(str, comparison["seeds"][row["name"]])),
            _number(row["seed_sd"]),
        ]
        for row in part["standings"]
    ]
    columns = ["backend", "mean", "rank", "resampled ranks, 95 %", "seeds", "sd over seeds"]
    _grid(console, title, columns, lines)


def _differences(console: Any, comparison: dict[str, Any], part: dict[str, Any]) -> None:
    lines, notes = [], []
    for pair in part["pairs"]:
        head, p = f"{pair['a']} - {pair['b']}", pair["p_holm"]
        lines.append(
            [head, _signed(pair["mean"]), "-" if p is None else f"{p:.2g}"]
            + [_signed(difference) for difference in pair["classes"]]
            + [pair["verdict"]]
        )
        if pair["note"]:
            notes.append(f"  {head}: {pair['note']}")
    columns = ["pair", "mean", "p (Holm)", *comparison["classes"], "better"]
    _grid(console, "differences with 95 % intervals", columns, lines)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)


def _wins(console: Any, part: dict[str, Any]) -> None:
    names = [row["name"] for row in part["standings"]]
    lines = [
        [name, *("" if i == j else str(n) for j, n in enumerate(line))]
        for i, (name, line) in enumerate(zip(names, part["wins"], strict=True))
    ]
    _grid(console, "in how many ROIs the row is better than the column", ["", *names], lines)


def _grid(console: Any, title: str, columns: list[str], lines: list[list[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(difference: dict[str, Any]) -> str:
    value, low, high = difference["point"], difference["low"], difference["high"]
    text = "-" if value is None else f"{value:+.3f}"
    return text if low is None else f"{text} [{low:+.2f}, {high:+.2f}]"
