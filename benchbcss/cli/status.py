"""``benchbcss status``: what runs, what was interrupted, what has failed, and what is done."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from benchbcss.cli.main import workspace_option

#: bytes at the end of a log in which its last line is looked for
TAIL = 8192


@click.command()
@click.option("--suite", help="Only runs of this suite.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Output format.",
)
@workspace_option
def status(suite: str | None, form: str, workspace: Path) -> None:
    """Show runs at work, interrupted, failed and done, each with the last line of its log."""
    runs = collect(workspace, suite)
    if form == "json":
        click.echo(json.dumps(runs, indent=1))
        return
    _show(runs)


def collect(workspace: Path, suite: str | None = None) -> list[dict[str, Any]]:
    """One entry per run: running ones first, then interrupted, failed and done, newest first."""
    from benchbcss.board import model
    from benchbcss.board.unfinished import Failure

    board = model.load(workspace, suite=suite)
    runs = []
    for state in ("running", "interrupted"):
        runs += [
            _entry(run.suite, run.backend, run.run, state, run.detail, run.when)
            for run in board.unfinished
            if run.state == state
        ]
    failures: list[Failure] = board.failures
    runs += [_entry(f.suite, f.backend, f.run, "failed", f.line, f.when) for f in failures]
    apart = [row for part in board.tables for row, _ in part.not_comparable]
    finished = {row.run: row for row in (*board.rows, *apart)}
    done = sorted(finished.values(), key=lambda row: row.result.created, reverse=True)
    for row in done:
        made = os.path.getmtime(row.run / "result.json")
        runs.append(_entry(row.result.suite.name, row.backend, str(row.run), "done", "", made))
    return runs


def _entry(
    suite: str, backend: str, run: str, state: str, detail: str, when: float
) -> dict[str, Any]:
    return {
        "suite": suite,
        "backend": backend,
        "run": Path(run).name,
        "state": state,
        "detail": detail,
        "when": when,
        "path": run,
        "last_line": last_line(Path(run) / "log.txt"),
    }


def last_line(path: Path) -> str:
    """The last line of a log that says something; '' without one."""
    if not path.is_file():  # a pipe would be waited for without end
        return ""
    try:
        with open(path, "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - TAIL))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _show(runs: list[dict[str, Any]]) -> None:
    import sys

    from benchbcss.board.exporters.terminal import Page

    page = Page.of(sys.stdout)
    several = len({run["suite"] for run in runs}) > 1
    for run in runs:
        if run["state"] == "done":
            continue
        suite = f" ({run['suite']})" if several else ""
        page.line(f"{run['state']}: {run['backend']} {run['run']}{suite}: {run['detail']}")
        page.line(f"  {_ago(run['when'])}: {run['last_line'] or 'nothing is logged'}")
    if any(run["state"] == "interrupted" for run in runs):
        page.say("The same command continues what was interrupted.")
    done = sum(run["state"] == "done" for run in runs)
    page.say(f"done: {done} run{'s' * (done != 1)}" + (", see benchbcss leaderboard" * bool(done)))


def _ago(when: float) -> str:
    seconds = max(0, round(time.time() - when))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
