"""Runs each specification in its own process on this machine.

A worker is judged by its result file and its exit status. Whatever happens to one, the others go
on and what is finished stays.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbcss.errors import BenchError
from benchbcss.results.spec import RunSpec
from benchbcss.runs.executors.protocol import (
    Executor,
    Outcome,
    Settings,
    failed,
    finished,
    judge,
    prepare,
    status_of,
    worker_command,
)

HEARTBEAT_LOST = 300.0  # seconds without a heartbeat after which a worker counts as hung


@dataclass(frozen=True)
class _Running:
    spec: RunSpec
    run_dir: Path
    process: subprocess.Popen[bytes]
    started: float


class Local(Executor):
    """``local``: processes on this machine, ``jobs`` at a time."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._waiting: list[RunSpec] = []
        self._running: list[_Running] = []

    def submit(self, specs: Sequence[RunSpec]) -> None:
        self._waiting.extend(specs)

    def poll(self) -> list[Outcome]:
        outcomes = self._start()
        for worker in list(self._running):
            outcome = self._look(worker)
            if outcome is None:
                continue
            self._running.remove(worker)
            outcomes.append(outcome)
            took = time.monotonic() - worker.started
            reason = f": {outcome.reason} (log: {worker.run_dir / 'log.txt'})"
            self.settings.say(
                f"{worker.spec.backend}: {outcome.status} in {took:.0f} s"
                + (reason if outcome.reason else "")
            )
        return outcomes

    def cancel(self) -> None:
        self._waiting.clear()
        while self._running:
            _kill(self._running.pop().process)

    def _start(self) -> list[Outcome]:
        """Fill free places; returns what needed no place or got none."""
        outcomes = []
        while self._waiting and len(self._running) < self.settings.jobs:
            spec = self._waiting.pop(0)
            run_dir = spec.run_dir(self.settings.workspace)
            if finished(spec, self.settings):
                self.settings.say(f"{spec.backend}: already done, kept ({run_dir})")
                outcomes.append(Outcome(spec, run_dir, "kept"))
                continue
            try:
                process = _spawn(prepare(spec, self.settings))
            except (OSError, BenchError) as error:
                outcomes.append(Outcome(spec, run_dir, "failed", str(error)))
                self.settings.say(f"{spec.backend}: failed: {error}")
                continue
            self._running.append(_Running(spec, run_dir, process, time.monotonic()))
            self.settings.say(f"{spec.backend}: started (log: {run_dir / 'log.txt'})")
        return outcomes

    def _look(self, worker: _Running) -> Outcome | None:
        """How ``worker`` ended, or None while it works; one that is late or hung is ended."""
        self.settings.watch(worker.spec, status_of(worker.run_dir))
        code = worker.process.poll()
        if code is not None:
            return judge(worker.spec, worker.run_dir, _ended(worker, code))
        timeout = self.settings.timeout
        late = timeout is not None and time.monotonic() - worker.started > timeout
        if not late and not _hung(worker):
            return None
        _kill(worker.process)
        reason = (
            f"stopped after {timeout:g} s (--timeout)"
            if late
            else f"no heartbeat for {HEARTBEAT_LOST:g} s"
        )
        return failed(worker.spec, worker.run_dir, reason)


def _spawn(run_dir: Path) -> subprocess.Popen[bytes]:
    log = open(run_dir / "log.txt", "ab")  # noqa: SIM115 - the child keeps it
    try:
        return subprocess.Popen(
            worker_command(run_dir),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a backend's own children can be ended with it
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
    finally:
        log.close()


def _ended(worker: _Running, code: int) -> str:
    """An exit status in words; nothing where a worker with a result ended well."""
    if code == 0 and (worker.run_dir / "result.json").is_file():
        return ""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"
    return f"the worker ended with exit status {code} and no result"


def _hung(worker: _Running) -> bool:
    if time.monotonic() - worker.started < HEARTBEAT_LOST:
        return False
    beat = status_of(worker.run_dir).get("time")
    return isinstance(beat, float) and time.time() - beat > HEARTBEAT_LOST


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
