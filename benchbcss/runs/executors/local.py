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
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchbcss.errors import BenchError, InputError
from benchbcss.interrupt import STOPPED, STOPPING
from benchbcss.results import store
from benchbcss.results.spec import RunSpec
from benchbcss.runs.executors.devices import VISIBLE, Devices, visible
from benchbcss.runs.executors.protocol import (
    BUSY,
    Executor,
    Outcome,
    Settings,
    failed,
    finished,
    judge,
    open_log,
    prepare,
    status_of,
    worker_command,
)

HEARTBEAT_LOST = 300.0  # seconds without a heartbeat after which a worker counts as hung


@dataclass
class _Running:
    """A worker; ``heard`` is when its heartbeat last changed, by this process's monotonic clock: no
    wall clock is asked, since it may be set, and another machine's may differ."""

    spec: RunSpec
    run_dir: Path
    process: subprocess.Popen[bytes]
    started: float
    heard: float
    devices: tuple[str, ...] = ()
    status: dict[str, Any] = field(default_factory=dict)
    told_to_stop: float | None = None  # when

    def listen(self) -> dict[str, Any]:
        """Its status now."""
        status = status_of(self.run_dir)
        if status != self.status:
            self.status, self.heard = status, time.monotonic()
        return status

    @property
    def is_slow_to_stop(self) -> bool:
        """Whether it was told to, long enough ago."""
        told = self.told_to_stop
        return told is not None and time.monotonic() - told > STOPPING

    @property
    def hung(self) -> bool:
        return time.monotonic() - self.heard > HEARTBEAT_LOST


class Local(Executor):
    """``local``: processes on this machine, ``jobs`` at a time, each on GPUs of its own where there
    are enough."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._waiting: list[RunSpec] = []
        self._running: list[_Running] = []
        self._told: set[Path] = set()  # folders that another process owns, said once

    @cached_property
    def _devices(self) -> Devices:
        """A single worker at a time sees every GPU, as it would without this program."""
        return Devices(visible() if self.settings.jobs > 1 else [])

    def submit(self, specs: Sequence[RunSpec]) -> None:
        self._waiting.extend(specs)

    def poll(self) -> list[Outcome]:
        outcomes = self._start()
        for worker in list(self._running):
            outcome = self._look(worker)
            if worker.process.returncode == BUSY:
                self._running.remove(worker)
                self._devices.give_back(worker.devices)
                self._wait_for(worker.spec, worker.run_dir)
                continue
            if outcome is None:
                continue
            self._running.remove(worker)
            self._devices.give_back(worker.devices)
            outcomes.append(outcome)
            took = time.monotonic() - worker.started
            reason = f": {outcome.reason} (log: {worker.run_dir / 'log.txt'})"
            self.settings.say(
                f"{worker.spec.backend}: {outcome.status} in {took:.0f} s"
                + (reason if outcome.reason else "")
            )
        return outcomes

    def cancel(self) -> None:
        """Workers are told to stop, so that what was trained is saved, and ended where that takes
        long, or where the user interrupts again."""
        self._waiting.clear()
        begun, said = time.monotonic(), False
        try:
            for worker in self._running:
                _tell_to_stop(worker.process)
            while any(worker.process.poll() is None for worker in self._running):
                took = time.monotonic() - begun
                if took > STOPPING:
                    break
                if took > 1 and not said:
                    said = True
                    self.settings.say(
                        f"what was trained is being saved, for {STOPPING:g} s at most; Ctrl-C ends "
                        f"that too"
                    )
                time.sleep(0.05)
        finally:
            while self._running:
                _kill(self._running.pop().process)

    @classmethod
    def stop(cls, run_dir: Path) -> str:
        pid = status_of(run_dir).get("pid")
        if not isinstance(pid, int) or not _is_worker(pid, run_dir):
            raise InputError(f"{run_dir.name} is not at work here. Look at: benchbcss status")
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return "it has just ended"
        except PermissionError:
            raise InputError(
                f"{run_dir.name} is at work as process {pid} of another user, who can stop it."
            ) from None
        return "told to stop"

    def _start(self) -> list[Outcome]:
        """Fill free places; returns what needed no place or got none."""
        outcomes = []
        waiting, self._waiting = self._waiting, []
        for number, spec in enumerate(waiting):
            if len(self._running) >= self.settings.jobs:
                self._waiting += waiting[number:]
                break
            run_dir = spec.run_dir(self.settings.workspace)
            try:
                if finished(spec, self.settings):
                    self.settings.say(f"{spec.backend}: already done, kept ({run_dir})")
                    outcomes.append(Outcome(spec, run_dir, "kept"))
                    continue
                worker = self._begin(spec, prepare(spec, self.settings))
            except store.Busy:
                self._wait_for(spec, run_dir)
                continue
            except (OSError, BenchError) as error:
                outcomes.append(Outcome(spec, run_dir, "failed", str(error)))
                self.settings.say(f"{spec.backend}: failed: {error}")
                continue
            self._running.append(worker)
            self.settings.say(f"{spec.backend}: started (log: {run_dir / 'log.txt'})")
        return outcomes

    def _begin(self, spec: RunSpec, run_dir: Path) -> _Running:
        devices = () if spec.device == "cpu" else self._devices.take(spec.processes)
        try:
            process = _spawn(run_dir, devices)
        except (OSError, BenchError):
            self._devices.give_back(devices)
            raise
        now = time.monotonic()
        return _Running(spec, run_dir, process, now, now, devices)

    def _wait_for(self, spec: RunSpec, run_dir: Path) -> None:
        """Another process owns the folder: look again at the next poll, after it has ended."""
        self._waiting.append(spec)
        if run_dir not in self._told:
            self._told.add(run_dir)
            self.settings.say(
                f"{spec.backend}: {run_dir} is being worked on by another process; waiting for it"
            )

    def _look(self, worker: _Running) -> Outcome | None:
        """How ``worker`` ended, or None while it works; one that is late or hung is ended."""
        self.settings.watch(worker.spec, worker.listen())
        code, now = worker.process.poll(), time.monotonic()
        if code == BUSY:
            return None
        if code == 0 or (code is not None and worker.told_to_stop is None):
            if code == STOPPED:
                reason = "stopped on request; the same command continues it"
                return Outcome(worker.spec, worker.run_dir, "failed", reason)
            return judge(worker.spec, worker.run_dir, _ended(worker, code))
        timeout = self.settings.timeout
        if code is None:
            late = timeout is not None and now - worker.started > timeout
            if late and worker.told_to_stop is None:
                _tell_to_stop(worker.process)
                worker.told_to_stop = now
            if not worker.hung and not worker.is_slow_to_stop:
                return None
        _kill(worker.process)
        reason = f"no heartbeat for {HEARTBEAT_LOST:g} s"
        if worker.told_to_stop is not None:
            reason = f"stopped after {timeout:g} s (--timeout); the same command continues it"
        return failed(worker.spec, worker.run_dir, reason)


def _is_worker(pid: int, run_dir: Path) -> bool:
    """Whether ``pid`` is the worker of ``run_dir`` on this machine: a number may be another's by
    now, and the workspace another machine's."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if b"benchbcss.runs.worker" not in words:
        return False
    try:  # from where it was started, the folder may be another's
        place = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        place = ""
    return Path(place, os.fsdecode(words[-2])).resolve() == run_dir.resolve()


def _spawn(run_dir: Path, devices: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    limited = {VISIBLE: ",".join(devices)} if devices else {}
    log = open_log(run_dir)
    try:
        return subprocess.Popen(
            worker_command(run_dir),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a backend's own children can be ended with it
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", **limited},
        )
    finally:
        log.close()


def _ended(worker: _Running, code: int) -> str:
    """An exit status in words; nothing where a worker with a result ended well."""
    if code == 0 and (store.has_record(worker.run_dir) or store.is_held(worker.run_dir)):
        return ""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"
    return f"the worker ended with exit status {code} and no result"


def _tell_to_stop(process: subprocess.Popen[bytes]) -> None:
    """It saves what it has done and ends; see ``interrupt``."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
