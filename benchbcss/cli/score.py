"""``benchbcss score``: any folder or .zip of label maps becomes a row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import format_option, say, split_option, workspace_option
from benchbcss.defaults import DATA_VARIABLE


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--name", help="The row's name.  [default: the folder's]")
@click.option(
    "--labels",
    "numbering",
    metavar="labels|codes|nnunet|FILE",
    help="What their values are. labels: 0..K-1 of the suite's label map; codes: the dataset's; "
    "nnunet: as dataset.json beside them says; FILE: a YAML, JSON or CSV of values or colours and "
    "their classes, or a Hugging Face config.json.  [default: labels]",
)
@click.option(
    "--codes",
    type=click.Choice(["labels", "raw22"]),
    help="Older spelling: raw22 is --labels codes.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Set other predictions aside that were scored under this name.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    envvar=DATA_VARIABLE,
    help="The folder with images and masks; without it the embedded phantom.",
)
@click.option("--suite", shell_complete=complete.suites, help="Name of a suite, or a suite file.")
@split_option
@click.option("--preset", type=click.Choice(["full", "smoke"]), help="The suite's preset.")
@format_option
@workspace_option
def score(
    predictions: Path,
    name: str | None,
    numbering: str | None,
    codes: str | None,
    replace: bool,
    folder: Path | None,
    suite: str | None,
    split: str | None,
    preset: Any,
    form: str,
    workspace: Path,
) -> None:
    """Score PREDICTIONS, a folder or .zip of label maps named as the test ROIs' masks.

    They are PNG, TIFF or .npy, in whatever folders, one for each test ROI.
    """
    if numbering is not None and codes is not None:
        raise click.UsageError("--codes is an older spelling of --labels; pass one of them.")
    from benchbcss.cli import progress
    from benchbcss.runs import launch

    with progress.shown() as display:
        scored = launch.score(
            predictions,
            launch.OnData(workspace, suite, folder, split, preset),
            name=name,
            numbering=numbering or ("codes" if codes == "raw22" else "labels"),
            replace=replace,
            say=say,
            progress=display,
        )
    run_dir = scored.run_dir
    if form == "json":
        click.echo((run_dir / "result.json").read_text(encoding="utf-8"), nl=False)
        return
    from benchbcss.board import model
    from benchbcss.board.exporters import terminal

    terminal.table(model.load(workspace, suite=run_dir.parent.parent.name, glance=True), sys.stdout)
    say(f"kept in {run_dir}")
