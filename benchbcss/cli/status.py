"""``benchbcss status``: what runs, is queued, was interrupted, has failed, and what is done."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from benchbcss.cli.main import format_option, runs_of_suite_option, say, workspace_option

#: bytes at the end of a log in which its last line is looked for
TAIL = 8192


@click.command()
@runs_of_suite_option
@format_option
@workspace_option
def status(suite: str | None, form: str, workspace: Path) -> None:
    """Show runs at work, queued, interrupted, failed, held by a sweep and done, with the last line
    of their logs."""
    runs = collect(workspace, suite, logs_of_done=form == "json")
    if form == "json":
        click.echo(json.dumps(runs, indent=1))
        return
    _show(runs)


def collect(
    workspace: Path, suite: str | None = None, *, logs_of_done: bool = True
) -> list[dict[str, Any]]:
    """One entry per run: running ones first, then queued in their order, then interrupted, failed,
    held by a sweep, and done, newest first. Without ``logs_of_done`` their last lines are empty."""
    from benchbcss.board import model
    from benchbcss.board.unfinished import Failure
    from benchbcss.results import RESULT

    board = model.load(workspace, suite=suite, ties=False, glance=True)
    running = [run for run in board.unfinished if run.state == "running"]
    queue = _queue(workspace, suite, {Path(run.run) for run in running})
    waiting = {Path(entry["path"]) for entry in queue}
    said = _submitted([Path(run.run) for run in board.unfinished])
    beating = [run for run in running if said.get(Path(run.run), ("running",))[0] == "running"]
    runs = []
    for run in beating:
        place = said.get(Path(run.run), ("", ""))[1]
        detail = ", ".join(filter(None, (run.detail, place)))
        runs.append(_working(run.suite, run.backend, run.run, detail, run.when))
    runs += queue
    for run in board.unfinished:
        if run in beating or Path(run.run) in waiting:
            continue
        state, detail = said.get(Path(run.run), (run.state, run.detail))
        runs.append(_entry(run.suite, run.backend, run.run, state, detail, run.when))
    runs.sort(key=lambda entry: _rank(entry, waiting))
    failures: list[Failure] = board.failures
    runs += [_entry(f.suite, f.backend, f.run, "failed", f.line, f.when) for f in failures]
    runs += _held(workspace, suite, {Path(run["path"]) for run in runs})
    apart = [row for part in board.tables for row, _ in part.not_comparable]
    finished = {row.run: row for row in (*board.rows, *apart)}
    done = sorted(finished.values(), key=lambda row: row.result.created, reverse=True)
    for row in done:
        made = os.path.getmtime(row.run / RESULT)
        head = (row.result.suite.name, row.backend, str(row.run), "done", "", made)
        runs.append(_entry(*head, log=logs_of_done))
    return runs


def _rank(entry: dict[str, Any], waiting: set[Path]) -> tuple[int, float]:
    """Running ones, then queued, then interrupted. Those ``waiting`` here keep their order; what
    was handed to a cluster's queue is in the order of submission."""
    handed = entry["state"] == "queued" and Path(entry["path"]) not in waiting
    return ("running", "queued", "interrupted").index(entry["state"]), entry["when"] * handed


def _held(workspace: Path, suite: str | None, known: set[Path]) -> list[dict[str, Any]]:
    """Runs that are trained and validated, and that a sweep scores only if it chooses them."""
    from benchbcss.results import VALIDATION

    marks = sorted((workspace / "runs").glob(f"*/*/[!.]*/{VALIDATION}"))
    if not marks:
        return []
    from benchbcss.results import store

    detail = "trained and validated for a sweep, without a test score"
    return [
        _entry(
            mark.parts[-4],
            mark.parts[-3],
            str(mark.parent),
            "held",
            detail,
            os.path.getmtime(mark),
        )
        for mark in marks
        if suite in (None, mark.parts[-4])
        and mark.parent not in known
        and store.seems_held(mark.parent)
    ]


def _submitted(run_dirs: list[Path]) -> dict[Path, tuple[str, str]]:
    """What queues say of runs that were handed to them: state and words."""
    if not run_dirs:
        return {}
    from benchbcss import registry
    from benchbcss.errors import BenchError
    from benchbcss.runs.executors.protocol import status_of, submission

    of: dict[str, list[Path]] = {}
    for path in run_dirs:
        if name := submission(path).get("executor"):
            of.setdefault(str(name), []).append(path)
    said: dict[Path, tuple[str, str]] = {}
    for name, paths in of.items():
        entry = registry.load().executors.get(name)
        if entry is None:
            continue
        try:
            answers = entry.load().ask(paths)
            gone = [path for path in paths if path not in answers and not status_of(path)]
            said |= {**answers, **dict.fromkeys(gone, ("interrupted", "it has left the queue"))}
        except BenchError as error:  # its queue does not answer: what workers wrote still counts
            say(f"warning: {error}")
    return said


def _working(suite: str, backend: str, run: str, detail: str, when: float) -> dict[str, Any]:
    """With how far it is: ``done`` of ``total`` of ``unit``, per second, and seconds left."""
    from benchbcss.results.heartbeat import Heartbeat
    from benchbcss.runs.executors import status_of

    beat = Heartbeat.of(status_of(Path(run)))
    return {
        **_entry(suite, backend, run, "running", detail, when),
        "stage": beat.stage,
        "done": beat.done,
        "total": beat.total,
        "unit": beat.unit or None,
        "rate": beat.rate,
        "seconds_left": beat.left,
    }


def _queue(workspace: Path, suite: str | None, running: set[Path]) -> list[dict[str, Any]]:
    """Runs that a living command has yet to begin."""
    from benchbcss.runs.queue import queued

    waiting = [
        (run, when)
        for run, when in queued(workspace)
        if run not in running and suite in (None, run.parent.parent.name)
    ]
    return [
        _entry(
            run.parent.parent.name,
            run.parent.name,
            str(run),
            "queued",
            f"{place} of {len(waiting)} in line",
            when,
        )
        for place, (run, when) in enumerate(waiting, start=1)
    ]


def _entry(
    suite: str, backend: str, run: str, state: str, detail: str, when: float, *, log: bool = True
) -> dict[str, Any]:
    return {
        "suite": suite,
        "backend": backend,
        "run": Path(run).name,
        "state": state,
        "detail": detail,
        "when": when,
        "path": run,
        "last_line": last_line(Path(run) / "log.txt") if log else "",
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
        if run["state"] in ("held", "done"):
            continue
        suite = f" ({run['suite']})" if several else ""
        title = f"{run['backend']} {run['run']}{suite}"
        if run["state"] == "queued" and len(f"queued: {title}: {run['detail']}") > page.width:
            page.line(f"queued: {title}:")
            page.say(f"  {run['detail']}")  # why it waits is never cut off
            continue
        page.entry(f"{run['state']}: ", title, run["detail"])
        if run["state"] != "queued":
            page.line(f"  {_ago(run['when'])}: {run['last_line'] or 'nothing is logged'}")
    if any(run["state"] == "interrupted" for run in runs):
        page.say("The same command continues what was interrupted.")
    if held := sum(run["state"] == "held" for run in runs):
        page.say(
            f"held: {held} run{'s' * (held != 1)} of sweeps, trained and validated; a sweep scores "
            f"only what it chooses"
        )
    done = sum(run["state"] == "done" for run in runs)
    page.say(f"done: {done} run{'s' * (done != 1)}" + (", see benchbcss leaderboard" * bool(done)))


def _ago(when: float) -> str:
    seconds = max(0, round(time.time() - when))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
