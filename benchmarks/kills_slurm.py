"""Kills of runs that are jobs of Slurm, for ``kills.py --executor slurm``.

In each turn all backends' runs are undone and submitted by one command, and each is then disturbed
once: at a random moment of a random stage, in one of ``WAYS``, or by the death of the command that
submits them. A run must then go on by itself, which is told apart from one that only the same
command brings to its end.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kills

from benchbcss.results import store
from benchbcss.runs.executors.protocol import submission

OPTIONS = ("time=20", "mem=2GB", "cpus_per_task=1")
LONGEST = 900.0  # seconds that a run may take after it was disturbed
POLL = 0.02


@dataclass(frozen=True)
class SlurmBench(kills.Bench):
    """The command with ``--executor slurm``; it follows its jobs unless told not to."""

    wait: bool = True

    def command(self) -> list[str]:
        options = [word for option in OPTIONS for word in ("--slurm", option)]
        return [*super().command(), "--executor", "slurm", *options, *["--wait"] * self.wait]

    def run_dirs(self) -> dict[str, Path]:
        """The folder of each backend's run, of those that have one."""
        places = {name: next(self.runs(name).glob("[!.]*"), None) for name in self.backends}
        return {name: path for name, path in places.items() if path is not None}


# -- ways ------------------------------------------------------------------------------------------


def _slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _queue() -> dict[str, str]:
    """Jobs of ours that are in the queue, and their states."""
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format=%i %T %j"]
    for _ in range(20):  # the controller may be busy
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        time.sleep(1)
    else:
        raise RuntimeError(done.stderr)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {job: state for job, state, name in lines if name.startswith("benchbcss-")}


def processes(job: str) -> Iterator[tuple[int, str]]:
    """Number and command line of every process of a job on this node, which is ours to read."""
    mark = f"SLURM_JOB_ID={job}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name), (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue


def _kill_processes(job: str, word: str) -> None:
    for pid, line in processes(job):
        if word in line:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _node(state: str) -> None:
    name = os.uname().nodename.partition(".")[0]
    _slurm("scontrol", "update", f"nodename={name}", f"state={state}", "reason=kills")


def _drain(job: str) -> None:
    _node("drain")
    time.sleep(2)
    _node("resume")


def _down(job: str) -> None:
    """The node fails: its jobs are queued again, all of them."""
    _node("down")
    time.sleep(1)
    _node("resume")


WAYS: dict[str, Callable[[str], Any]] = {
    "scancel": lambda job: _slurm("scancel", job),
    "scancel --signal=TERM": lambda job: _slurm("scancel", "--signal=TERM", job),
    "scancel --signal=KILL --full": lambda job: _slurm("scancel", "--signal=KILL", "--full", job),
    "the signal before a time limit": lambda job: _slurm("scancel", "--signal=USR2", job),
    "a time limit": lambda job: _slurm("scontrol", "update", f"jobid={job}", "timelimit=1"),
    "kill -9 of the worker": lambda job: _kill_processes(job, "benchbcss.runs.worker"),
    "kill -9 of the task": lambda job: _kill_processes(job, "submitit.core._submit"),
    "kill -9 of the batch shell": lambda job: _kill_processes(job, "slurm_script"),
    "scontrol requeue": lambda job: _slurm("scontrol", "requeue", job),
    "drain and resume": _drain,
    "the node down and up": _down,
}
#: Slurm lets a job that it queues again wait for minutes: these befall runs of one turn
SLOW = ("scontrol requeue", "the node down and up")
COMMAND = "kill -9 of the command"


# -- one turn --------------------------------------------------------------------------------------


@dataclass
class Attack:
    """What is to happen to one backend's run; ``told`` once it has."""

    backend: str
    place: kills.Place
    delay: float
    way: str
    reached: float | None = None
    told: str = ""
    struck: bool = False

    def look(self, run_dir: Path | None) -> None:
        """Strike when it is time."""
        if self.told or run_dir is None:
            return
        if store.has_record(run_dir):
            self.told = f"{self.backend}: nothing, it had ended"
            return
        if self.reached is None and kills.stage_of(run_dir) == self.place[1]:
            self.reached = time.monotonic()
        if self.reached is None or time.monotonic() < self.reached + self.delay:
            return
        stage, queued = kills.stage_of(run_dir), _queue()
        jobs = submission(run_dir).get("jobs", ())
        job = next((job for job in jobs if queued.get(job) == "RUNNING"), None)
        if job is None:
            return
        WAYS[self.way](job)
        self.struck = True
        self.told = f"{self.backend}: {self.way}, {self.delay:.2f} s after '{self.place[1]}'"
        self.told += f", in '{stage}'" * (stage != self.place[1])


def turn(bench: SlurmBench, attacks: Sequence[Attack], killed_after: float | None) -> list[str]:
    """Undo the runs, submit and disturb them, and let them end; what was not as promised.

    Where the command is killed while it submits, it is given again."""
    for attack in attacks:
        shutil.rmtree(bench.runs(attack.backend))
    if killed_after is not None:
        with bench.start() as process:
            time.sleep(killed_after)
            kills.kill_tree(process.pid)
    submitting = SlurmBench(bench.folder, bench.backends, bench.every, wait=False)
    submitting.finish()
    places, asked = bench.run_dirs(), time.monotonic()
    while not all(attack.told for attack in attacks):
        for attack in attacks:
            attack.look(places.get(attack.backend))
        time.sleep(POLL)
        if time.monotonic() > asked + 2:
            if not _queue():
                break
            asked = time.monotonic()
    _empty_queue()
    wrong = [f"jobs {', '.join(left)} are left in the queue"] if (left := _queue()) else []
    wrong += [
        f"{name} did not go on by itself"
        for name, run_dir in bench.run_dirs().items()
        if not store.has_record(run_dir)
    ]
    bench.finish()
    _empty_queue()
    return wrong


def _empty_queue() -> None:
    """Wait until no job of ours is there."""
    deadline = time.monotonic() + LONGEST
    while _queue() and time.monotonic() < deadline:
        time.sleep(1)


def rounds(
    bench: SlurmBench, seen: dict[kills.Place, float], number: int, rng: random.Random
) -> Iterator[tuple[list[Attack], float | None]]:
    """Attacks, ``number`` in all, each way as often as the others."""
    ways: list[str] = []
    planning = seen.get(kills.START, 5.0)
    done = 0
    while done < number:
        attacks = []
        for backend in bench.backends:
            if not ways:
                quick = [way for way in WAYS if way not in SLOW]
                ways = [*SLOW, *rng.sample(quick, len(quick))]
            places = [place for place in sorted(seen) if place[0] == backend]
            place = rng.choice(places)
            attacks.append(Attack(backend, place, rng.uniform(0, seen[place]), ways.pop()))
        killed = rng.uniform(0, planning) if rng.random() < 0.4 else None
        yield attacks, killed
        done += sum(attack.struck for attack in attacks) + (killed is not None)


def run(
    folder: Path, backends: Sequence[str], every: Sequence[float], number: int, seed: int
) -> int:
    """As ``kills.kills``."""
    rng = random.Random(seed)
    wrong = 0
    benches = [SlurmBench(folder, tuple(backends), seconds) for seconds in every]
    begun = time.monotonic()
    seen = kills.stages(benches[0])
    _empty_queue()
    wanted = kills.left(benches[0].workspace)
    print(f"undisturbed: {time.monotonic() - begun:.0f} s, {len(wanted)} files", flush=True)
    for bench in benches:
        for attacks, killed_after in rounds(bench, seen, number, rng):
            begun = time.monotonic()
            found = turn(bench, attacks, killed_after)
            found += kills.differences(wanted, kills.left(bench.workspace))
            found += kills.damaged(bench.workspace)
            wrong += bool(found)
            if killed_after is not None:
                print(f"{COMMAND} after {killed_after:.2f} s; then", flush=True)
            for attack in attacks:
                print(f"  {attack.told or attack.backend + ': was not reached'}", flush=True)
            told = "; ".join(found[:8]) or "as undisturbed"
            print(
                f"  {time.monotonic() - begun:.0f} s, saved every {bench.every:g} s: {told}",
                flush=True,
            )
    return wrong
