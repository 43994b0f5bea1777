"""``benchbcss rescore``: metrics anew from stored predictions, without model or GPU."""

from __future__ import annotations

import os
from pathlib import Path

import click

from benchbcss.cli.main import say, workspace_option
from benchbcss.progress import Progress


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN_DIR]...")
@click.option(
    "--tables",
    is_flag=True,
    help="Count no pixels: results follow from the count tables, which takes seconds.",
)
@click.option(
    "--complete",
    is_flag=True,
    help="Measure what runs lack for want of weights that are there by now, such as CLIP's; "
    "nothing is trained, and the rest stays as it is.",
)
@workspace_option
def rescore(runs: tuple[Path, ...], tables: bool, complete: bool, workspace: Path) -> None:
    """Recompute the results of RUN_DIRs (default: every finished run of the workspace).

    They are computed from predictions and masks, or from the count tables where predictions or
    the data folder are gone, or where --tables asks for it.
    """
    from benchbcss.cli import progress
    from benchbcss.errors import BenchError, InputError, RunError
    from benchbcss.results import store

    if tables and complete:
        raise click.UsageError("--tables and --complete exclude each other.")
    chosen = list(runs) or sorted(
        path.parent for path in (workspace / "runs").glob("*/*/[!.]*/result.json")
    )
    if not chosen:
        raise InputError(f"There is no finished run under {workspace / 'runs'}.")
    for run_dir in chosen:
        if not store.has_record(run_dir):
            raise InputError(f"{run_dir} holds no result.json; name the folder of a finished run.")
    failed = 0
    with progress.shown() as display:
        for run_dir in chosen:
            try:
                place = Path(os.path.realpath(run_dir))
                if complete:
                    _complete(place, display)
                else:
                    _rescore(place, display, tables)
                    say(f"rescored {run_dir}")
            except BenchError as error:
                failed += 1
                say(f"error: {run_dir}: {error}")
    if failed:
        done = "completed" if complete else "rescored"
        raise RunError(
            f"{failed} of {len(chosen)} runs could not be {done}; their old results stand."
        )


def _rescore(run_dir: Path, display: Progress, tables: bool) -> None:
    from benchbcss.errors import DataError
    from benchbcss.io import ensure_list
    from benchbcss.results import evaluate, store

    with store.owned(run_dir, store.A_MOMENT):
        ensure_list(run_dir)
        if tables:
            store.save(run_dir, evaluate.rebuild(run_dir))
            return
        gone = _gone(run_dir)
        if not gone:
            store.save(run_dir, evaluate.rescore(run_dir, display))
            return
        try:
            result = evaluate.rebuild(run_dir)
        except DataError as error:
            raise DataError(f"{gone}, and its tables do not serve: {error}") from error
        store.save(run_dir, result)
        say(f"warning: {gone}: the result follows from its tables, masks are not compared")


def _complete(run_dir: Path, display: Progress) -> None:
    from benchbcss.results import store
    from benchbcss.runs import complete as completing

    if not completing.lacking(store.load(run_dir)):
        say(f"{run_dir} lacks nothing")
        return
    measured = completing.complete(run_dir, display)
    say(f"{run_dir}: measured {', '.join(measured)}")
    result = store.load(run_dir)
    if changed := result.notes.get(completing.LATER):
        say(
            f"warning: {run_dir}: {' and '.join(changed)} changed since the run, and what was "
            f"measured now is of the present code; the record notes it"
        )
    for name, reason in completing.lacking(result).items():
        say(f"warning: {run_dir}: {name} is still not measured: {reason}")


def _gone(run_dir: Path) -> str:
    """What the tables were counted from and is not there any more, or ''."""
    from benchbcss.results import evaluate, store

    lost = evaluate.lost(run_dir)
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return f"the prediction {lost[0]}{more} is missing or damaged"
    data = Path(store.load_spec(run_dir).data_root)
    return "" if data.is_dir() else f"the data folder {data} does not exist"
