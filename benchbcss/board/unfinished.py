"""Runs without a result: failed, at work, or interrupted; read from what their workers left.

A worker writes ``status.json`` every few seconds while it lives, and ``failure.json`` when it ends
without a result.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchbcss.io import read_json

#: seconds since the last heartbeat (there is one every 2 s) for which a worker counts as alive,
#: and for which it does where its process can be seen on this machine
ALIVE, ALIVE_HERE = 15.0, 300.0
#: seconds that a worker may take to its first heartbeat
STARTING = 60.0


@dataclass(frozen=True)
class _Run:
    suite: str
    backend: str
    run: str  # its folder

    @property
    def id(self) -> str:
        """The name of its folder, as ``show-roi`` and ``runs`` take it."""
        return Path(self.run).name

    @property
    def title(self) -> str:
        """Backend, id, and suite."""
        return f"{self.backend} {self.id} ({self.suite})"


@dataclass(frozen=True)
class Failure(_Run):
    """A run that ended without a result. ``reason`` may hold many lines; ``when`` is in seconds
    since the epoch, ``stage`` what it was doing."""

    reason: str
    when: float = 0.0
    stage: str = ""

    @property
    def line(self) -> str:
        return one_line(self.reason)


@dataclass(frozen=True)
class Unfinished(_Run):
    """A run at work, or stopped without a word; ``detail`` says where it is, or was."""

    state: Literal["running", "interrupted"]
    detail: str
    when: float = 0.0


def one_line(text: str, longest: int = 300) -> str:
    """The first line that says something, with the next where it ends in a colon; cut, since errors
    of torch name every tensor they miss."""
    lines = [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]
    first = " ".join(lines[: 1 + bool(lines and lines[0].endswith(":"))])
    first = first or "no reason was recorded"
    return first if len(first) <= longest else first[: longest - 3].rstrip() + "..."


def look(run_dir: Path) -> Failure | Unfinished | None:
    """What became of a run without a result; None where there is no sign of one, and for one that
    waits until its sweep has chosen."""
    from benchbcss.results.heartbeat import beaten, is_there  # here: most boards have no such run

    suite, backend = run_dir.parent.parent.name, run_dir.parent.name
    head = (suite, backend, str(run_dir))
    status = _read(run_dir / "status.json") or {}
    seen = beaten(status)
    path = run_dir / "failure.json"
    if path.is_file():
        content = _read(path)
        if content is None or "reason" not in content:
            content = {"reason": "failure.json cannot be read"}
        when = seen if seen is not None else _modified(path)
        return Failure(*head, str(content["reason"]), when, str(content.get("stage") or ""))
    spec = run_dir / "spec.json"
    if (run_dir / "validation.json").is_file() and _is_held(spec):
        return None
    if seen is None:
        if not spec.is_file():
            return None
        when = _modified(spec)
        alive = time.time() - when < STARTING
        return Unfinished(*head, _state(alive), "starting", when)
    age = time.time() - seen
    # a little of the future is another machine's clock; more is a clock that was wrong once
    fresh = -ALIVE_HERE < age < ALIVE
    alive = fresh or (age < ALIVE_HERE and is_there(status) is True)
    return Unfinished(*head, _state(alive), _where(status, alive), seen)


def _is_held(spec: Path) -> bool:
    """Whether a sweep is to choose before the run goes on."""
    return (_read(spec) or {}).get("until") == "training"


class Identity(NamedTuple):
    """A later result of the same replaces a failure. A short run does not stand for a full one, nor
    weights that were evaluated for a training; ``preset`` and ``evaluated`` are None where no
    specification says them."""

    suite: str
    backend: str
    seed: int
    name: str
    preset: str | None
    evaluated: bool | None

    def replaces(self, lost: Identity) -> bool:
        """Whether a result of this takes a run off the board that ended without one."""
        facts = zip(self, lost, strict=True)
        return all(later == lost_fact or lost_fact is None for later, lost_fact in facts)


def identity(run_dir: Path) -> Identity:
    """Of a run without a result."""
    spec = _read(run_dir / "spec.json") or {}
    seed = spec.get("seed")
    if not isinstance(seed, int):
        match = re.search(r"seed(\d+)", run_dir.name)
        seed = int(match[1]) if match else 0
    return Identity(
        run_dir.parent.parent.name,
        run_dir.parent.name,
        seed,
        str(spec.get("name") or ""),
        spec.get("preset"),
        spec["evaluate"] is not None if "evaluate" in spec else None,
    )


def _state(alive: bool) -> Literal["running", "interrupted"]:
    return "running" if alive else "interrupted"


def _where(status: dict[str, Any], alive: bool) -> str:
    """A heartbeat in words: 'training, step 120/300, 0:52 left, epoch 3/10'."""
    from benchbcss.results.heartbeat import Heartbeat, clock

    beat = Heartbeat.of(status)
    words = [f"{beat.stage} {status.get('track') or ''}".strip()]
    if beat.done is not None:
        words.append(f"{beat.unit} {beat.count}".strip())
    if alive:  # first what matters most: narrow terminals cut the end
        words += filter(None, ["" if beat.left is None else f"{clock(beat.left)} left", beat.part])
    for name, total in (("epoch", "epochs"), ("step", "steps"), ("roi", "of")):
        if name in status and name != beat.unit:
            end = f"/{status[total]}" if total in status else ""
            words.append(f"{name} {status[name]}{end}")
    return ", ".join(words)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
