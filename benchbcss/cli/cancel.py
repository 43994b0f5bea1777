"""``benchbcss cancel``: stop runs, at work here or in a cluster's queue."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchbcss.cli import complete
from benchbcss.cli.main import runs_of_suite_option, say, workspace_option


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.runs)
@runs_of_suite_option
@workspace_option
def cancel(names: tuple[str, ...], suite: str | None, workspace: Path) -> None:
    """Stop runs of NAMEs. A NAME is a backend, a run's id or its folder.

    A run at work saves a checkpoint first; the command that started it continues it from there.
    """
    from benchbcss import registry
    from benchbcss.errors import BenchError, InputError
    from benchbcss.runs import stored
    from benchbcss.runs.executors.protocol import submission

    runs = stored.chosen(workspace, names, suite=suite)
    waiting = [run for run in runs if run.state in ("running", "interrupted")]
    if not waiting:
        raise InputError("None of them is at work or queued. Look at: benchbcss status")
    stopped: set[str] = set()  # backends
    refused: list[tuple[str, InputError]] = []
    failures: list[BenchError] = []
    for run in waiting:
        executor = submission(run.path).get("executor", "local")
        try:
            entry = registry.load().executors.find(executor)
            say(f"{run.backend} {run.path.name}: {entry.load().stop(run.path.resolve())}")
            stopped.add(run.backend)
        except InputError as error:
            refused.append((run.backend, error))
        except BenchError as error:  # such as a queue that does not answer: others are stopped
            failures.append(error)
            say(f"error: {run.backend} {run.path.name}: {error}")
    if refused and not stopped and not failures:
        raise refused[0][1]
    for backend, refusal in refused:
        if backend not in stopped:  # of one that was stopped, others may have ended before
            say(f"warning: {refusal}")
    if failures:
        sys.exit(failures[0].exit_code)
