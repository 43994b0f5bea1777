"""Runs each specification in its own process on this machine.

A worker is judged by its result file and its exit status. Whatever happens to one, the others go
on and what is finished stays.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbcss.errors import BenchError
from benchbcss.io import read_json, write_json
from benchbcss.results.spec import RunSpec

POLL_SECONDS = 0.2
HEARTBEAT_LOST = 300.0  # seconds without a heartbeat after which a worker counts as hung


@dataclass
class Outcome:
    """How one run ended: 'kept' (finished before), 'done' or 'failed' with a reason."""

    spec: RunSpec
    run_dir: Path
    status: str
    reason: str = ""


@dataclass
class _Running:
    spec: RunSpec
    run_dir: Path
    process: subprocess.Popen[bytes]


def run_all(
    specs: Sequence[RunSpec],
    workspace: Path,
    *,
    jobs: int = 1,
    timeout: float | None = None,
    fresh: bool = False,
    say: Callable[[str], None],
    watch: Callable[[RunSpec, dict[str, Any]], None] = lambda spec, status: None,
) -> list[Outcome]:
    """Run ``specs``, ``jobs`` at a time; returns their outcomes in order."""
    outcomes: dict[int, Outcome] = {}
    waiting = list(enumerate(specs))
    running: dict[int, _Running] = {}
    started: dict[int, float] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index, spec = waiting.pop(0)
                run_dir = spec.run_dir(workspace)
                if (run_dir / "result.json").is_file() and not fresh:
                    say(f"{spec.backend}: already done, kept ({run_dir})")
                    outcomes[index] = Outcome(spec, run_dir, "kept")
                    continue
                try:
                    running[index] = _start(spec, run_dir, fresh)
                except (OSError, BenchError) as error:
                    outcomes[index] = Outcome(spec, run_dir, "failed", str(error))
                    say(f"{spec.backend}: failed: {error}")
                    continue
                started[index] = time.monotonic()
                say(f"{spec.backend}: started (log: {run_dir / 'log.txt'})")
            for index, each in list(running.items()):
                watch(each.spec, _status(each.run_dir))
                code = each.process.poll()
                late = timeout is not None and time.monotonic() - started[index] > timeout
                if code is None and (late or _hung(each.run_dir, started[index])):
                    _kill(each.process)
                    reason = (
                        f"stopped after {timeout:g} s (--timeout)"
                        if late
                        else f"no heartbeat for {HEARTBEAT_LOST:g} s"
                    )
                    outcomes[index] = _failed(each, reason)
                elif code is not None:
                    outcomes[index] = _judge(each, code)
                else:
                    continue
                del running[index]
                outcome = outcomes[index]
                took = time.monotonic() - started[index]
                say(
                    f"{each.spec.backend}: {outcome.status} in {took:.0f} s"
                    + (
                        f": {outcome.reason} (log: {each.run_dir / 'log.txt'})"
                        if outcome.reason
                        else ""
                    )
                )
            if running:
                time.sleep(POLL_SECONDS)
    finally:
        for each in running.values():  # interrupted: nothing is left behind
            _kill(each.process)
    return [outcomes[index] for index in sorted(outcomes)]


def _start(spec: RunSpec, run_dir: Path, fresh: bool) -> _Running:
    if fresh and run_dir.is_dir():
        _set_aside(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "failure.json").unlink(missing_ok=True)
    (run_dir / "status.json").unlink(missing_ok=True)
    write_json(run_dir / "spec.json", spec.model_dump(mode="json"))
    log = open(run_dir / "log.txt", "ab")  # noqa: SIM115 - the child keeps it
    try:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "benchbcss.runs.worker", str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a backend's own children can be ended with it
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
    finally:
        log.close()
    return _Running(spec, run_dir, process)


def _set_aside(run_dir: Path) -> None:
    """A finished result is never deleted: --fresh moves it out of the leaderboard's sight."""
    number = 1
    while (aside := run_dir.with_name(f".{run_dir.name}.old{number}")).exists():
        number += 1
    run_dir.rename(aside)


def _judge(each: _Running, code: int) -> Outcome:
    if code == 0 and (each.run_dir / "result.json").is_file():
        return Outcome(each.spec, each.run_dir, "done")
    if (each.run_dir / "failure.json").is_file():
        reason = str(read_json(each.run_dir / "failure.json").get("reason"))
        return Outcome(each.spec, each.run_dir, "failed", reason)
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return _failed(each, f"the worker was killed by {name}{hint}")
    return _failed(each, f"the worker ended with exit status {code} and no result")


def _failed(each: _Running, reason: str) -> Outcome:
    stage = _status(each.run_dir).get("stage")
    text = f"{reason} while {stage}" if stage else reason
    try:
        write_json(each.run_dir / "failure.json", {"reason": text, "stage": stage})
    except BenchError:
        pass  # the outcome below still carries the reason
    return Outcome(each.spec, each.run_dir, "failed", text)


def _status(run_dir: Path) -> dict[str, Any]:
    try:
        status: dict[str, Any] = read_json(run_dir / "status.json")
        return status
    except (OSError, ValueError):
        return {}


def _hung(run_dir: Path, started: float) -> bool:
    if time.monotonic() - started < HEARTBEAT_LOST:
        return False
    beat = _status(run_dir).get("time")
    return isinstance(beat, float) and time.time() - beat > HEARTBEAT_LOST


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
