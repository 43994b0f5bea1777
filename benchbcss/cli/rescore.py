"""``benchbcss rescore``: metrics anew from stored predictions, without model or GPU."""

from __future__ import annotations

from pathlib import Path

import click

from benchbcss.cli.main import say, workspace_option
from benchbcss.progress import Progress


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN_DIR]...")
@workspace_option
def rescore(runs: tuple[Path, ...], workspace: Path) -> None:
    """Recompute the results of RUN_DIRs (default: every finished run of the workspace)."""
    from benchbcss.cli import progress
    from benchbcss.errors import BenchError, InputError, RunError
    from benchbcss.results import store

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
                _rescore(run_dir.resolve(), display)
                say(f"rescored {run_dir}")
            except BenchError as error:
                failed += 1
                say(f"error: {run_dir}: {error}")
    if failed:
        raise RunError(
            f"{failed} of {len(chosen)} runs could not be rescored; their old results stand."
        )


def _rescore(run_dir: Path, display: Progress) -> None:
    from benchbcss.io import ensure_list
    from benchbcss.results import evaluate, store

    with store.owned(run_dir):
        ensure_list(run_dir)
        store.save(run_dir, evaluate.rescore(run_dir, display))
