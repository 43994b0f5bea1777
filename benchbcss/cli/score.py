"""``benchbcss score``: any folder of label-map PNGs becomes a row."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from benchbcss.cli.main import say, workspace_option


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--name", help="The row's name.  [default: the folder's]")
@click.option(
    "--codes",
    type=click.Choice(["labels", "raw22"]),
    default="labels",
    show_default=True,
    help="labels: 0..K-1 of the suite's label map; raw22: BCSS's codes.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    envvar="BENCHBCSS_DATA",
    help="The folder with images and masks; without it the embedded phantom.",
)
@click.option("--suite", help="Name of a suite, or a suite file.")
@click.option("--split", help="brief, official, eva, or a CSV filename,split.")
@click.option("--preset", type=click.Choice(["full", "smoke"]), help="The suite's preset.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Output format.",
)
@workspace_option
def score(
    predictions: Path,
    name: str | None,
    codes: str,
    folder: Path | None,
    suite: str | None,
    split: str | None,
    preset: Any,
    form: str,
    workspace: Path,
) -> None:
    """Score PREDICTIONS, a folder or .zip of label maps named as the test ROIs' masks."""
    from benchbcss import registry
    from benchbcss.errors import InputError
    from benchbcss.runs import external, planning

    chosen = name or predictions.name.removesuffix(".zip")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", chosen):
        raise InputError(
            f"'{chosen}' cannot be a row's name: use letters, digits, dots, dashes and "
            f"underscores, with --name."
        )
    if chosen in registry.load().backends:
        raise InputError(
            f"'{chosen}' is a backend that runs here; give these predictions another --name."
        )
    definition, used = planning.choose_suite(suite, folder, preset)
    prepared = planning.prepare(
        definition, used, folder=folder, split=split, workspace=workspace, say=say
    )
    run_dir, warnings = external.score(
        predictions, prepared, name=chosen, codes=codes, workspace=workspace
    )
    for warning in warnings:
        say(f"warning: {warning}")
    if form == "json":
        click.echo((run_dir / "result.json").read_text(encoding="utf-8"), nl=False)
        return
    from benchbcss.board import model
    from benchbcss.board.exporters import terminal

    terminal.table(model.load(workspace, suite=definition.name), sys.stdout)
    say(f"kept in {run_dir}")
