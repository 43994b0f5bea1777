"""What an executor is: where runs are carried out, and how one asks for them.

An executor starts ``python -m benchbcss.runs.worker RUN_DIR`` for each specification, somewhere,
and reports how each ended::

    class Inline(Executor):
        '''One after the other, in the foreground.'''

        def submit(self, specs):
            self.waiting = list(specs)

        def poll(self):
            if not self.waiting:
                return []
            spec = self.waiting.pop(0)
            run_dir = prepare(spec, self.settings)
            subprocess.run(worker_command(run_dir))
            return [judge(spec, run_dir)]

        def cancel(self):
            self.waiting.clear()
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from benchbcss.errors import BenchError, InputError, RunError
from benchbcss.io import read_json, sentence, write_json
from benchbcss.results import store

if TYPE_CHECKING:  # importing an executor must be cheap: a plugin's module may hold one
    from benchbcss.results.spec import RunSpec


def _silent(spec: RunSpec, status: dict[str, Any]) -> None:
    pass


def _unheard(outcome: Outcome) -> None:
    pass


@dataclass(frozen=True)
class Settings:
    """How runs are carried out. ``jobs``: at most so many at a time; ``timeout``: seconds after
    which a run is stopped; ``fresh``: run again what is finished; ``say`` tells the user a line;
    ``watch`` is shown a running worker's ``status.json``, ``ended`` the outcome of each run. An
    executor that hands runs to a queue returns at once unless told to ``wait``; ``options`` are its
    own, each with every value given, as ``--EXECUTOR KEY=VALUE`` has them."""

    workspace: Path
    say: Callable[[str], None]
    jobs: int = 1
    timeout: float | None = None
    fresh: bool = False
    watch: Callable[[RunSpec, dict[str, Any]], None] = _silent
    ended: Callable[[Outcome], None] = _unheard
    wait: bool = False
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How one run ended: 'kept' (finished before), 'done' or 'failed' with a reason; or that it was
    'submitted' to a queue and nobody waits for it."""

    spec: RunSpec
    run_dir: Path
    status: Literal["kept", "done", "failed", "submitted"]
    reason: str = ""


class Executor(ABC):
    """Carries runs out. Made once per command; ``poll_seconds`` lie between two polls. Runs of a
    ``detached`` one go on when the command ends, whatever ends it."""

    poll_seconds: float = 0.2
    detached: bool = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def submit(self, specs: Sequence[RunSpec]) -> None:
        """Take ``specs`` on; returns at once. Called once."""

    @abstractmethod
    def poll(self) -> list[Outcome]:
        """Start what may start, and return what has ended since the last call: one outcome for
        every specification submitted, sooner or later. One run's failure stops no other."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop everything of which ``poll`` has not reported an outcome. Called at the end too,
        whatever happened."""

    def script(self, specs: Sequence[RunSpec]) -> str:
        """What ``--dry-run`` shows of how ``specs`` would be carried out; raises InputError where
        they could not be. Nothing is started."""
        return ""

    @classmethod
    def ask(cls, run_dirs: Sequence[Path]) -> dict[Path, tuple[Literal["queued", "running"], str]]:
        """What the queue says of runs that were submitted: their state, and the rest in words.
        Those that it does not know are left out."""
        return {}

    @classmethod
    def examine(cls) -> Iterator[tuple[Literal["ok", "note", "problem"], str, str]]:
        """Whether runs can be carried out from here, for ``benchbcss doctor``: state, what was
        found, and what to do."""
        yield from ()

    @classmethod
    def stop(cls, run_dir: Path) -> str:
        """Stop a run, queued or at work, whoever started it; returns what was done, in words.
        Raises InputError where it is not to be found."""
        raise InputError(f"{run_dir} is not at work.")


def finished(spec: RunSpec, settings: Settings) -> bool:
    """Whether the run is done already, as far as ``spec.until`` asks, and is to be kept: its record
    is valid and matches its files.
    Where it does not, the user is told what is wrong."""
    run_dir = spec.run_dir(settings.workspace)
    if settings.fresh:
        return False
    if not store.has_record(run_dir):
        return store.is_reached(run_dir, spec.until)
    wrong = store.damage(run_dir)
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        settings.say(f"{spec.backend}: damaged ({wrong[0]}{more}); it is made anew ({run_dir})")
    return not wrong


def prepare(spec: RunSpec, settings: Settings) -> Path:
    """Write what a worker reads, ``spec.json``, into the run's folder, and return that. Traces of a
    failure before are removed. Raises ``store.Busy`` where another process owns the folder, OSError
    and RunError where it cannot be written."""
    run_dir = spec.run_dir(settings.workspace)
    with store.owned(run_dir):
        if settings.fresh and run_dir.is_dir():
            set_aside(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / store.FAILURE).unlink(missing_ok=True)
        (run_dir / store.STATUS).unlink(missing_ok=True)
        (run_dir / store.SUBMITTED).unlink(missing_ok=True)
        store.save_spec(run_dir, spec)
    return run_dir


def set_aside(run_dir: Path) -> Path:
    """A finished result is never deleted: --fresh moves it out of the leaderboard's sight. Returns
    where it is now."""
    number = 1
    while (aside := run_dir.with_name(f".{run_dir.name}.old{number}")).exists():
        number += 1
    run_dir.rename(aside)
    return aside


def note_submission(run_dir: Path, executor: str, jobs: Sequence[str]) -> None:
    """Remember that ``executor`` handed the run to a queue as ``jobs``."""
    write_json(run_dir / store.SUBMITTED, {"executor": executor, "jobs": list(jobs)}, listed=False)


def submission(run_dir: Path) -> dict[str, Any]:
    """``executor`` and ``jobs`` of a run that was handed to a queue; empty for others."""
    try:
        content = read_json(run_dir / store.SUBMITTED)
    except (OSError, ValueError):
        return {}
    match content:
        case {"executor": str(), "jobs": list(jobs)} if all(isinstance(job, str) for job in jobs):
            return content
    return {}


#: exit status of a worker that found its folder owned by another process, and touched nothing
BUSY = 75


def worker_command(run_dir: Path) -> list[str]:
    """What carries out the run whose ``spec.json`` is in ``run_dir``."""
    return [sys.executable, "-u", "-m", "benchbcss.runs.worker", str(run_dir)]


def open_log(run_dir: Path) -> BinaryIO:
    """Where a worker's output goes. Raises RunError."""
    path = run_dir / store.LOG
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise RunError(f"{path} is no regular file. Move it, and run again.")
    try:
        return open(path, "ab")
    except OSError as error:
        raise RunError(sentence(error)) from error


def status_of(run_dir: Path) -> dict[str, Any]:
    """A running worker's heartbeat: ``stage``, ``pid`` on ``host``, ``time``, ``beat`` (a count)
    and details; empty before it."""
    try:
        status = read_json(run_dir / store.STATUS)
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def judge(spec: RunSpec, run_dir: Path, ended: str = "") -> Outcome:
    """How a worker that has ended did, by the files that it left; ``ended`` says how it ended where
    it left none."""
    if not ended and (store.has_record(run_dir) or store.is_held(run_dir)):
        return Outcome(spec, run_dir, "done")
    try:
        content = read_json(run_dir / store.FAILURE)
    except (OSError, ValueError):
        content = None
    if isinstance(content, dict):
        return Outcome(spec, run_dir, "failed", str(content.get("reason")))
    return failed(spec, run_dir, ended or "the worker ended without a result")


def failed(spec: RunSpec, run_dir: Path, reason: str) -> Outcome:
    """Write ``failure.json`` for a worker that could not do so itself, unless another process owns
    the folder by now."""
    stage = status_of(run_dir).get("stage")
    text = f"{reason} while {stage}" if stage else reason
    try:
        with store.owned(run_dir):
            write_json(run_dir / store.FAILURE, {"reason": text, "stage": stage}, listed=False)
    except BenchError:
        pass  # the outcome below still carries the reason
    return Outcome(spec, run_dir, "failed", text)
