"""``benchbcss runs``: what a workspace holds, and removing runs and left-overs from it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import format_option, runs_of_suite_option, say, workspace_option
from benchbcss.defaults import DATA_VARIABLE

if TYPE_CHECKING:
    from benchbcss.upkeep.clean import Removable


def _chart(name: str, text: str) -> Any:
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option(f"--{name}", type=path, metavar="FILE.svg|FILE.png", help=text)


@click.group()
def runs() -> None:
    """List, show and remove runs of a workspace, and clean up."""


@runs.command("list", short_help="List runs: done, failed, running or interrupted.")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.runs)
@click.option("--all", "everything", is_flag=True, help="Also runs that were set aside.")
@runs_of_suite_option
@format_option
@workspace_option
def list_(
    names: tuple[str, ...], everything: bool, suite: str | None, form: str, workspace: Path
) -> None:
    """List runs of NAMEs (default: all): done, failed, running or interrupted.

    A run that is held was trained and validated for a sweep and not chosen yet: it has no test
    score.
    """
    from benchbcss.runs import stored

    if names:
        chosen = stored.chosen(workspace, names, suite=suite, aside=everything)
    else:
        chosen = [
            run
            for run in stored.every(workspace)
            if (everything or run.state != "set aside") and suite in (None, run.suite)
        ]
    if form == "json":
        click.echo(json.dumps([run.plain() for run in chosen], indent=1))
        return
    if not chosen:
        say(f"no run in {workspace / 'runs'}")
        return
    rows: list[tuple[str, ...]] = [("suite", "backend", "run", "state", "changed", "MB")]
    for run in chosen:
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed))
        size = f"{run.size / 1e6:.1f}"
        rows.append((run.suite, run.backend, run.path.name, run.state, changed, size))
    for line in _listed(rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None):
        click.echo(line)


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.runs)
@runs_of_suite_option
@format_option
@_chart("confusion", "Write the confusion matrix of one run.")
@_chart("curves", "Write the training curves of one run.")
@workspace_option
def show(
    names: tuple[str, ...],
    suite: str | None,
    form: str,
    confusion: Path | None,
    curves: Path | None,
    workspace: Path,
) -> None:
    """Show what runs of NAMEs are made of. A NAME is a backend, a run's id or its folder."""
    from benchbcss.runs import stored

    chosen = stored.chosen(workspace, names, suite=suite)
    if confusion or curves:
        _charts(chosen, confusion, curves)
    shown = [_described(run) for run in chosen]
    if form == "json":
        click.echo(json.dumps(shown, indent=1))
        return
    for entry in shown:
        for key, value in entry.items():
            if value is not None:
                click.echo(f"{key:12} {value}")
        click.echo()


def _charts(chosen: list[Any], confusion: Path | None, curves: Path | None) -> None:
    """Write what was asked for. Raises InputError where it is not one finished run's, or where the
    run has no such chart."""
    from benchbcss.board.model import Row
    from benchbcss.errors import InputError
    from benchbcss.report import class_charts, files, training
    from benchbcss.results import store

    done = [run for run in chosen if run.state == "done"]
    if len(done) != 1:
        ids = ", ".join(run.path.name for run in done) or "none"
        raise InputError(f"A chart is of one finished run; these names mean {ids}. Name one.")
    result = store.load(done[0].path)
    rows = [Row(result, track, done[0].path) for track in result.tracks]
    if confusion:
        charts = (class_charts.confusion(row) for row in rows)
        matrix = next((chart for chart in charts if chart is not None), None)
        if matrix is None:
            tracks = ", ".join(result.tracks)
            raise InputError(f"{rows[0].name} has no confusion matrix in its tracks ({tracks}).")
        files.save(matrix, confusion, "Lines: true classes. Columns: what they were called.")
        say(f"wrote {confusion}")
    if curves:
        curve = training.curve_of(rows[0])
        if isinstance(curve, str):
            raise InputError(curve)
        colours = "Blue: mean Dice over classes. Orange, dashed: any tissue, which misleads."
        files.save(training.figure(rows[0], curve), curves, colours)
        say(f"wrote {curves}")


def _described(run: Any) -> dict[str, Any]:
    from benchbcss.errors import BenchError
    from benchbcss.io import read_json
    from benchbcss.results import store

    entry = {**run.plain(), "reason": None}
    if run.state == "failed":
        try:
            entry["reason"] = str(read_json(run.path / "failure.json").get("reason"))
        except (OSError, ValueError, AttributeError):
            entry["reason"] = "failure.json cannot be read"
    try:
        spec = store.load_spec(run.path)
    except BenchError as error:
        return {**entry, "reason": entry["reason"] or str(error)}
    entry |= {
        "seed": spec.seed,
        "preset": spec.preset,
        "split": f"{spec.split_name}: {len(spec.split.train)} train, {len(spec.split.val)} val, "
        f"{len(spec.split.test)} test ROIs",
        "data": spec.data_root,
        "weights": None if spec.predictions_sha256 else str(spec.weights),
        "scored": spec.evaluate or "test",
    }
    if run.state == "done":
        try:
            tracks = store.load(run.path).tracks
        except BenchError as error:
            return {**entry, "reason": str(error)}
        entry["mean_dice"] = {name: track.headline.per_roi.mean for name, track in tracks.items()}
    return entry


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.runs)
@click.option("--all", "everything", is_flag=True, help="Also NAMEs' runs that were set aside.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@runs_of_suite_option
@workspace_option
def rm(
    names: tuple[str, ...], everything: bool, yes: bool, suite: str | None, workspace: Path
) -> None:
    """Remove runs of NAMEs for good. A NAME is a backend, a run's id or its folder.

    Nothing is removed before it is confirmed, and nothing at all while one of them is running.
    """
    from benchbcss.errors import InputError
    from benchbcss.runs import stored

    chosen = stored.chosen(workspace, names, suite=suite, aside=everything)
    if busy := [run for run in chosen if run.state == "running"]:
        raise InputError(
            f"{busy[0].path} is running. Wait for it, or stop the command that runs it. "
            f"Nothing is removed."
        )
    for run in chosen:
        say(f"{run.state}: {run.path}")
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(
                f"Nothing is removed without confirmation. Pass --yes to remove "
                f"{'it' if len(chosen) == 1 else f'these {len(chosen)} runs'}."
            )
        click.confirm(f"Remove {len(chosen)} run(s) for good?", abort=True, err=True)
    for run in chosen:
        stored.remove(run)
        say(f"removed {run.path}")


@runs.command(short_help="Show what may go without losing a result, and remove it.")
@click.option(
    "--only",
    "kinds",
    type=click.Choice(["checkpoints", "replaced", "torn", "store", "temporary"]),
    multiple=True,
    help="Only this kind of thing.  [default: all]",
)
@click.option(
    "--data",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    envvar=DATA_VARIABLE,
    help="A folder whose decoded images stay, beside those that runs use.",
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
@format_option
@workspace_option
def clean(
    kinds: tuple[str, ...], folders: tuple[Path, ...], yes: bool, form: str, workspace: Path
) -> None:
    """Show what a workspace may lose without losing a result, and remove it once confirmed.

    \b
    checkpoints  those of finished runs, but for the weights that were scored
    replaced     failed and interrupted runs that a later result has replaced
    torn         folders without a result that no run can continue from
    store        decoded images and masks whose files are gone or have changed
    temporary    what a stopped program left behind more than an hour ago
    """
    from benchbcss.errors import RunError
    from benchbcss.upkeep import clean as cleaning

    items = [i for i in cleaning.look(workspace, folders) if not kinds or i.kind in kinds]
    total = sum(item.bytes for item in items)
    if form == "json":
        content = [item.plain() for item in items]
        click.echo(json.dumps({"bytes": total, "items": content}, indent=1))
    else:
        _show_removable(items, workspace)
    if not items:
        return
    what = f"{len(items)} item{'s' * (len(items) != 1)} of {total / 1e6:.1f} MB"
    if not yes:
        if form == "json" or not sys.stdin.isatty():
            say(f"Nothing is removed. Pass --yes to remove {what}.")
            return
        click.confirm(f"Remove {what} for good?", abort=True, err=True)
    gone, problems = cleaning.remove_all(items)
    say(f"removed {len(gone)} of {len(items)}: {sum(item.bytes for item in gone) / 1e6:.1f} MB")
    for problem in problems:
        say(f"error: {problem}")
    if problems:
        raise RunError(f"{len(problems)} of {len(items)} could not be removed; they are as before.")


def _show_removable(items: Sequence[Removable], workspace: Path) -> None:
    """A section for each kind, one line for each folder: how many files, how large."""
    from benchbcss.upkeep.clean import KINDS

    if not items:
        click.echo(f"There is nothing to clean in {workspace}.")
    for kind, meaning in KINDS.items():
        some = [item for item in items if item.kind == kind]
        if not some:
            continue
        size = sum(item.bytes for item in some) / 1e6
        click.echo(f"{kind}: {meaning}: {len(some)}, {size:.1f} MB")
        places: dict[Path, list[Removable]] = {}
        for item in some:
            places.setdefault(item.path.parent, []).append(item)
        for place, here in places.items():
            names = ", ".join(item.path.name for item in here[:4])
            more = f" and {len(here) - 4} more" if len(here) > 4 else ""
            size = sum(item.bytes for item in here) / 1e6
            click.echo(f"  {place}: {names}{more} ({size:.1f} MB): {here[0].why}")


def _listed(rows: Sequence[tuple[str, ...]], width: int | None) -> list[str]:
    """Lines of a table below its head. Where it is wider than ``width``, first the suite goes, if
    it is the same for all; then backends become headings. No name is cut: they are typed again."""
    from benchbcss.board.exporters.layout import columns_of

    lines = _aligned(rows)
    if width is None or max(map(columns_of, lines)) <= width:
        return lines
    if len({row[0] for row in rows[1:]}) == 1:
        rows = [row[1:] for row in rows]
        lines = _aligned(rows)
    if max(map(columns_of, lines)) <= width:
        return lines
    lines = _aligned([(*row[-3:], row[-4]) for row in rows])  # ids last, as they are the longest
    shown = [f"  {lines[0]}"]
    for place, row in enumerate(rows[1:], start=1):
        if place == 1 or row[:-4] != rows[place - 1][:-4]:
            shown.append(" ".join(row[:-4]))
        shown.append(f"  {lines[place]}")
    return shown


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    from benchbcss.board.exporters.layout import columns_of, pad

    widths = [max(columns_of(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(pad(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
