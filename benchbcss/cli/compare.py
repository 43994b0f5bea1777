"""``benchbcss compare``: which differences between backends hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from benchbcss.cli.main import workspace_option
from benchbcss.tracks import TRACKS


@click.command()
@click.argument("backends", nargs=-1, required=True, metavar="A B [BACKEND]...")
@click.option("--suite", help="Only this suite.")
@click.option("--track", type=click.Choice(list(TRACKS)), help="Only this track.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Output format.",
)
@workspace_option
def compare(
    backends: tuple[str, ...], suite: str | None, track: str | None, form: str, workspace: Path
) -> None:
    """Compare A, B and others pairwise, on the same ROIs and resamples."""
    if len(set(backends)) < 2:
        raise click.UsageError("Name at least two different backends.")
    from benchbcss.board import compare as comparing
    from benchbcss.board import model

    board = model.load(workspace, suite=suite, track=track)
    part, entries = comparing.choose(board, list(dict.fromkeys(backends)))
    classes = part.rows[0].scores.classes
    found = {"suite": part.suite, "track": part.track.name}
    found |= comparing.compare(entries, classes, part.track.estimands)
    if form == "json":
        click.echo(json.dumps(found, indent=1, allow_nan=False))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150, highlight=False)

    def grid(title: str, columns: list[str], lines: list[list[str]]) -> None:
        table = Table(title=title, title_justify="left")
        for index, name in enumerate(columns):
            table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
        for line in lines:
            table.add_row(*(Text(cell) for cell in line))
        console.print(table)

    grid(
        f"{found['suite']} / {found['track']}: {found['rois']} ROIs, mean per-class Dice (per ROI)",
        ["backend", "mean", "rank", "rank, 95 %", "seeds", "sd over seeds"],
        [
            [
                each["name"],
                _number(each["mean_dice"]),
                str(each["rank"]),
                "{} to {}".format(*each["rank_interval"]),
                ", ".join(map(str, each["seeds"])),
                _number(each["seed_sd"]),
            ]
            for each in found["backends"]
        ],
    )
    lines = []
    for pair in found["pairs"]:
        head = f"{pair['a']} - {pair['b']}"
        own = pair["per_roi"]
        lines.append(
            [head, _signed(own["mean"], own["mean_interval"]), f"{pair['p_holm']:.4f}"]
            + [_signed(c["difference"], c["interval"]) for c in own["classes"].values()]
            + [pair["verdict"]]
        )
    grid(
        "differences, 95 % interval; p by sign flips, Holm",
        ["pair", "mean", "p", *found["classes"], "better"],
        lines,
    )
    names = [each["name"] for each in found["backends"]]
    grid(
        "in how many ROIs the row is better than the column",
        ["", *names],
        [
            [name, *("" if i == j else str(n) for j, n in enumerate(line))]
            for i, (name, line) in enumerate(zip(names, found["wins"], strict=True))
        ],
    )
    smallest = 2.0 ** (1 - found["rois"])
    if smallest * max(1, len(found["pairs"])) >= found["level"]:
        console.print(
            f"With {found['rois']} ROIs p cannot be below {smallest:.3f} for one pair: too few to "
            "tell these apart.",
            markup=False,
        )
    console.print(
        "A difference counts when its interval excludes 0 and p, adjusted for all pairs, is below "
        f"{found['level']:g}; otherwise it is a tie.",
        markup=False,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None, bounds: list[float] | None) -> str:
    text = "-" if value is None else f"{value:+.3f}"
    return text if bounds is None else f"{text} [{bounds[0]:+.2f}, {bounds[1]:+.2f}]"
