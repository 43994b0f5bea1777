"""Slurm's commands: what is in the queue, and whether a job would be taken."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchbcss.errors import InputError, RunError
from benchbcss.runs.executors.protocol import submission

NAME = "slurm"
#: in a workspace: scripts, and what Slurm says of jobs
FOLDER = "slurm"
#: number, state, reason, name, script: paths may hold the separator, so the script is last
_FORMAT = "%i|%T|%r|%j|%o"


class Queued(NamedTuple):
    """A job in the queue."""

    job: str
    state: str
    reason: str


def job_name(run_dir: Path) -> str:
    return f"benchbcss-{run_dir.parent.name}-{run_dir.name}"


def folder_of(run_dir: Path) -> Path:
    """Where the scripts of a run ``WORKSPACE/runs/SUITE/BACKEND/ID`` lie."""
    return run_dir.parents[3] / FOLDER


def noted(run_dir: Path) -> list[str]:
    """Numbers of the jobs that the run was handed to, in order."""
    content = submission(run_dir)
    if content.get("executor") != NAME:
        return []
    return [str(job) for job in content.get("jobs", ())]


def queued(run_dirs: Iterable[Path]) -> dict[Path, list[Queued]]:
    """Jobs of each run that are in the queue, in order. Raises RunError.

    They are known by their number, or by name and script: a command that was killed while it
    submitted, and a job that submitted its successor, may have noted none. All of the user's are
    asked for, since squeue refuses a list with a job that has left.
    """
    jobs: dict[Path, list[Queued]] = defaultdict(list)
    numbers: dict[str, Path] = {}
    names: dict[tuple[str, str], Path] = {}
    for path in run_dirs:
        numbers |= dict.fromkeys(noted(path), path)
        names[job_name(path), str(folder_of(path))] = path
    if not names:
        return {}
    listing = run(["squeue", "--noheader", "--user", str(os.getuid()), "--format", _FORMAT])
    for line in listing.splitlines():
        parts = line.strip().split("|", 4)
        if len(parts) < 5:  # of a job of the user's whose name or script has several lines
            continue
        job, state, reason, name, script = parts
        owner = numbers.get(job) or names.get((name, os.path.dirname(script)))
        if owner is not None and state != "COMPLETING":
            jobs[owner].append(Queued(job, state, reason))
    return {
        path: sorted(entries, key=lambda entry: int(entry.job)) for path, entries in jobs.items()
    }


def cancel(jobs: Sequence[str]) -> None:
    """Successors first: none may start meanwhile. Raises RunError."""
    run(["scancel", *sorted(jobs, key=int, reverse=True)])


def test(script: str) -> None:
    """Raises InputError where sbatch would refuse the script."""
    done = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"sbatch would refuse the job: {_first(done.stderr)}")


def run(command: Sequence[str]) -> str:
    """Output of a command of Slurm. Raises RunError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except FileNotFoundError:
        raise RunError(f"There is no {command[0]} on this machine.") from None
    except subprocess.TimeoutExpired:
        raise RunError(f"Slurm does not answer ({command[0]}, 60 s). Try again later.") from None
    except subprocess.CalledProcessError as error:
        raise RunError(f"{command[0]}: {_first(error.stderr)}") from error
    return done.stdout


def told(error: BaseException) -> str:
    """What sbatch said, of the many lines that submitit puts around it."""
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return _first("\n".join(lines) or str(error))


def _first(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next(
        (line for line in lines if "error:" in line), lines[0] if lines else "no reason given"
    )
    return said.partition("error:")[2].strip() or said
