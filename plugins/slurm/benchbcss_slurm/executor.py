"""Runs as jobs of a Slurm cluster, submitted by submitit (Meta, MIT).

A run is one job and ``resubmit`` successors, each of which starts only if the one before it ended
while the run was not at its end (``afternotok``). So a run that is pre-empted, killed or out of
time goes on by itself, also where the cluster cancels instead of requeueing and where nodes have
no commands of Slurm; the last job queues itself again where it can. Slurm sends a signal ahead of
a time limit, and the worker then saves a checkpoint. A result, or a failure that has a reason, ends
the job well: what became of the run is in its folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchbcss.errors import BenchError, InputError, RunError
from benchbcss.results import store
from benchbcss.runs.executors import (
    Executor,
    Outcome,
    Settings,
    finished,
    judge,
    prepare,
    status_of,
)
from benchbcss.runs.executors.protocol import failed, note_submission, submission
from benchbcss.upkeep.machine import answer
from benchbcss_slurm.job import Work

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

    from benchbcss.results.spec import RunSpec

NAME = "slurm"
#: parameters of ours, besides those of submitit and of sbatch
RESUBMIT, SETUP = "resubmit", "setup"
RESUBMITS = 3
#: of submitit, which are numbers
NUMBERS = {
    *("nodes", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "gpus_per_node"),
    *("gpus_per_task", "signal_delay_s"),
}
#: those that follow from the run
OURS = {"nodes", "ntasks_per_node", "dependency", "array", "job_name", "command", "folder"}
#: seconds for which a job may be unknown to the queue before it counts as gone: the controller may
#: be slow to list a new one, and a shared file system slow to show what an old one wrote
GONE = 20.0


class Slurm(Executor):
    """``slurm``: one job for each run; returns at once, or follows them with ``--wait``."""

    poll_seconds = 2.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._specs: list[RunSpec] = []
        self._followed: dict[Path, RunSpec] = {}
        self._missing: dict[Path, float] = {}

    def submit(self, specs: Sequence[RunSpec]) -> None:
        self._specs = list(specs)

    def poll(self) -> list[Outcome]:
        outcomes = [outcome for spec in self._specs if (outcome := self._start(spec))]
        self._specs = []
        queued = _queue([job for path in self._followed for job in _jobs(path)])
        for run_dir, spec in list(self._followed.items()):
            outcome = self._look(run_dir, spec, queued)
            if outcome is not None:
                del self._followed[run_dir]
                outcomes.append(outcome)
                self.settings.say(
                    f"{spec.backend}: {outcome.status}"
                    + f": {outcome.reason}" * bool(outcome.reason)
                )
        return outcomes

    def cancel(self) -> None:
        """Jobs belong to the queue: whoever stops following them does not stop them."""
        if self._followed:
            self.settings.say(
                f"{len(self._followed)} jobs go on. Look at them with: benchbcss status; stop one "
                f"with: benchbcss cancel RUN"
            )

    def script(self, specs: Sequence[RunSpec]) -> str:
        """Each run's batch script as sbatch would get it, tested by ``sbatch --test-only``."""
        scripts = []
        for spec in specs:
            executor, _ = self._submitter(spec)
            text = executor._make_submission_file_text(executor._submitit_command_str, "dry-run")
            _test(text)
            scripts.append(text)
        return "\n".join(dict.fromkeys(scripts))

    @classmethod
    def ask(cls, run_dirs: Sequence[Path]) -> dict[Path, tuple[Literal["queued", "running"], str]]:
        queued = _queue([job for path in run_dirs for job in _jobs(path)])
        said: dict[Path, tuple[Literal["queued", "running"], str]] = {}
        for path in run_dirs:
            known = [(job, *queued[job]) for job in _jobs(path) if job in queued]
            if known:
                job, state, reason = min(known, key=lambda entry: entry[1] != "RUNNING")
                why = f" ({reason})" if state == "PENDING" else ""
                told = f"Slurm job {job} {state.lower()}{why}"
                said[path] = "running" if state == "RUNNING" else "queued", told
        return said

    @classmethod
    def examine(cls) -> Iterator[tuple[Literal["ok", "note", "problem"], str, str]]:
        if shutil.which("sinfo") is None:
            yield "ok", "no Slurm here (there is no sinfo): runs are carried out here", ""
            return
        good, said = answer(["sinfo", "--noheader", "--format=%P %a %D %G"])
        if not good:
            text = f"Slurm is installed but does not answer: {said}"
            yield "problem", text, "Try sinfo, and ask who runs the cluster."
        elif shutil.which("sbatch") is None:
            text = "Slurm answers, but there is no sbatch to submit with"
            yield "problem", text, "Work on a login node."
        else:
            partitions = [line.split()[0].rstrip("*") for line in said.splitlines() if line.split()]
            text = f"Slurm answers; partitions: {', '.join(partitions) or 'none'}"
            yield ("ok" if partitions else "note"), text, ""

    @classmethod
    def stop(cls, run_dir: Path) -> str:
        jobs = [job for job in _jobs(run_dir) if job in _queue(_jobs(run_dir))]
        if not jobs:
            raise InputError(f"{run_dir.name} has no job in the queue. Look at: benchbcss status")
        _run(["scancel", *reversed(jobs)])  # successors first: none may start meanwhile
        return f"job {jobs[0]} is cancelled"

    def _start(self, spec: RunSpec) -> Outcome | None:
        """Submit a run. None where it is to be followed."""
        run_dir = spec.run_dir(self.settings.workspace).resolve()
        try:
            if finished(spec, self.settings):
                self.settings.say(f"{spec.backend}: already done, kept ({run_dir})")
                return Outcome(spec, spec.run_dir(self.settings.workspace), "kept")
            jobs = [job for job in _jobs(run_dir) if job in _queue(_jobs(run_dir))]
            if jobs:
                self.settings.say(f"{spec.backend}: queued already as job {jobs[0]} ({run_dir})")
            else:
                executor, successors = self._submitter(spec)
                jobs = self._submit(executor, successors, prepare(spec, self.settings).resolve())
                self.settings.say(
                    f"{spec.backend}: submitted as job {jobs[0]} (log: {run_dir / store.LOG})"
                )
        except (OSError, BenchError) as error:
            self.settings.say(f"{spec.backend}: failed: {error}")
            return Outcome(spec, spec.run_dir(self.settings.workspace), "failed", str(error))
        if not self.settings.wait:
            return Outcome(spec, spec.run_dir(self.settings.workspace), "submitted")
        self._followed[run_dir] = spec
        return None

    def _submit(self, executor: SlurmExecutor, successors: int, run_dir: Path) -> list[str]:
        """The job and its successors; none is left behind where one is refused."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        jobs: list[str] = []
        try:
            for _ in range(1 + successors):
                jobs.append(executor.submit(Work(run_dir)).job_id)
                executor.update_parameters(dependency=f"afternotok:{jobs[-1]}")
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            if jobs:
                _run(["scancel", *reversed(jobs)])
            raise RunError(f"sbatch refused the job: {_told(error)}") from error
        note_submission(run_dir, NAME, jobs)
        return jobs

    def _submitter(self, spec: RunSpec) -> tuple[SlurmExecutor, int]:
        """What submits the jobs of ``spec``, and how many successors it gets. Raises InputError."""
        from submitit.slurm.slurm import SlurmExecutor

        if shutil.which("sbatch") is None:
            raise InputError(
                "There is no sbatch on this machine. Use a login node of the cluster, or leave out "
                "--executor slurm."
            )
        parameters, successors, python = parse(self.settings.options)
        nodes = int(parameters.pop("nodes", 1))
        if spec.processes % nodes:
            raise InputError(
                f"--processes {spec.processes} cannot be shared equally by nodes={nodes}."
            )
        folder = (self.settings.workspace / "slurm").resolve()
        executor = SlurmExecutor(folder, python=python)
        executor.update_parameters(
            job_name=f"benchbcss-{spec.backend}",
            nodes=nodes,
            ntasks_per_node=spec.processes // nodes,
            srun_args=["--kill-on-bad-exit=1"],
            wckey=None,
            **parameters,
        )
        return executor, successors

    def _look(
        self, run_dir: Path, spec: RunSpec, queued: Mapping[str, tuple[str, str]]
    ) -> Outcome | None:
        """What became of a run that is followed; None while it may go on."""
        if queued.keys() & set(_jobs(run_dir)):
            self._missing.pop(run_dir, None)
            self.settings.watch(spec, status_of(run_dir))
            return None
        ended = (
            store.has_record(run_dir)
            or (run_dir / store.FAILURE).is_file()
            or store.is_held(run_dir)
        )
        since = self._missing.setdefault(run_dir, time.monotonic())
        if not ended and time.monotonic() - since < GONE:
            return None
        place = spec.run_dir(self.settings.workspace)
        if ended:
            return judge(spec, place)
        logs = self.settings.workspace / "slurm"
        reason = f"its jobs have left the queue without a result (what Slurm said: {logs})"
        return failed(spec, place, reason)


def parse(options: Mapping[str, Sequence[str]]) -> tuple[dict[str, Any], int, str | None]:
    """Parameters for submitit, the number of successors, and the command that starts Python on the
    node, from ``--slurm KEY=VALUE``. What submitit does not know is handed to sbatch as it is.

    Raises InputError.
    """
    from submitit.slurm.slurm import _get_default_parameters

    known = set(_get_default_parameters())
    parameters: dict[str, Any] = {"time": "1-00:00:00"}
    others: dict[str, Any] = {}
    successors, python = RESUBMITS, None
    for key, values in options.items():
        name, value = key.replace("-", "_"), values[-1]
        if name in OURS - {"nodes"}:
            raise InputError(f"--slurm {key}={value}: this is set by the run itself.")
        if name == SETUP:
            parameters[SETUP] = list(values)
        elif len(values) > 1:
            raise InputError(f"--slurm {key} is given {len(values)} times; only setup may be.")
        elif name == RESUBMIT:
            successors = _number(key, value)
        elif name == "python":
            python = value
        elif name in NUMBERS:
            parameters[name] = _number(key, value)
        elif name in known:
            parameters[name] = value
        else:
            others[name] = value or True
    # a successor that is no longer needed must leave the queue, not wait for ever
    parameters["additional_parameters"] = {"kill-on-invalid-dep": "yes", "requeue": True, **others}
    return parameters, successors, python


def _number(key: str, value: str) -> int:
    if not value.isdecimal():
        raise InputError(f"--slurm {key}={value}: give a whole number.")
    return int(value)


def _jobs(run_dir: Path) -> list[str]:
    said = submission(run_dir)
    return [str(job) for job in said.get("jobs", ())] if said.get("executor") == NAME else []


def _queue(jobs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """State and reason of those of ``jobs`` that are in the queue. All of the user's are asked for,
    since squeue refuses a list with a job that has left."""
    if not jobs:
        return {}
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format", "%i|%T|%r"]
    entries = {}
    for line in _run(command).splitlines():
        job, state, reason = line.strip().split("|", 2)
        if job in jobs and state != "COMPLETING":
            entries[job] = state, reason
    return entries


def _test(script: str) -> None:
    """Raises InputError where sbatch would refuse the script."""
    done = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"sbatch would refuse the job: {_first(done.stderr)}")


def _run(command: Sequence[str]) -> str:
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


def _told(error: BaseException) -> str:
    """What sbatch said, of the many lines that submitit puts around it."""
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return _first("\n".join(lines) or str(error))


def _first(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next(
        (line for line in lines if "error:" in line), lines[0] if lines else "no reason given"
    )
    return said.partition("error:")[2].strip() or said
