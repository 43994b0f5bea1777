"""``benchbcss doctor``: is this machine fit to run, and what to do where it is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import say, workspace_option
from benchbcss.defaults import DATA_VARIABLE


@click.command()
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    envvar=DATA_VARIABLE,
    help="A data folder, every file of which is decoded and checked.",
)
@click.option(
    "--suite",
    shell_complete=complete.suites,
    help="Name of a suite, or a suite file.  [default: bcss5 with data, phantom without]",
)
@click.option("--split", shell_complete=complete.files, help="Instead of the suite's split.")
@click.option("--preset", type=click.Choice(["full", "smoke"]), help="The suite's preset.")
@click.option(
    "--weights",
    multiple=True,
    shell_complete=complete.files,
    help="Weights to look at, as run --weights takes them.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Output format.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@workspace_option
def doctor(
    folder: Path | None,
    suite: str | None,
    split: str | None,
    preset: Any,
    weights: tuple[str, ...],
    form: str,
    as_json: bool,
    workspace: Path,
) -> None:
    """Examine versions, devices, memory, disk, weights, data and Slurm; say what to do.

    Exits with 1 if there is a problem. Notes stop nothing.
    """
    from benchbcss.runs.launch import OnData
    from benchbcss.upkeep import doctor as examining

    asked = examining.Asked(OnData(workspace, suite, folder, split, preset), weights)
    found = []
    for finding in examining.examine(asked):
        found.append(finding)
        if not as_json and form == "table":
            click.echo(f"{finding.state:8} {finding.topic}: {finding.text}")
            if finding.remedy:
                click.echo(f"{'':9}{finding.remedy}")
    problems = sum(finding.state == "problem" for finding in found)
    if as_json or form == "json":
        content = {"problems": problems, "findings": [finding.plain() for finding in found]}
        click.echo(json.dumps(content, indent=1))
    if problems:
        say(f"{problems} problem{'s' * (problems != 1)}")
        sys.exit(1)
