"""``benchbcss compare``: which differences between backends, or variants of one, hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from benchbcss.cli import complete
from benchbcss.cli.main import format_option, one_table_options, workspace_option


@click.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="A B [NAME]...", shell_complete=complete.runs
)
@one_table_options
@format_option
@workspace_option
def compare(
    names: tuple[str, ...], suite: str | None, track: str | None, form: str, workspace: Path
) -> None:
    """Compare A, B and others pairwise, on the same ROIs.

    A NAME is a backend, a variant as the leaderboard shows it ("unetpp lr=1e-4"), what was given
    with run --name, or a run's id. All seeds of it are taken together.
    """
    from benchbcss.board import compare as comparing
    from benchbcss.board import model
    from benchbcss.board.exporters import comparison
    from benchbcss.results.index import suite_with_runs

    board = model.load(workspace, suite=suite_with_runs(workspace, suite), track=track)
    compared = comparing.of_names(board, names)
    if form == "json":
        click.echo(json.dumps(compared.plain(), indent=1, allow_nan=False))
    else:
        comparison.table(compared, sys.stdout)
