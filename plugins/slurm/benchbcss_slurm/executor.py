"""Runs as jobs of a Slurm cluster, submitted by submitit (Meta, MIT).

A run is one job and ``resubmit`` successors, each of which starts only if the one before it ended
while the run was not at its end (``afternotok``). So a run that is pre-empted, killed or out of
time goes on by itself, also where the cluster cancels instead of requeueing and where nodes have
no commands of Slurm. The last successor submits another as long as the run gets ahead; where its
node has no sbatch, whoever follows the run does (``--wait``). Slurm sends a signal ahead of a time
limit, and the worker then saves a checkpoint. A result, or a failure that has a reason, ends the
job well: what became of the run is in its folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
from benchbcss_slurm import commands
from benchbcss_slurm.commands import NAME, Queued
from benchbcss_slurm.job import Work, has_advanced
from benchbcss_slurm.parameters import parse

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

    from benchbcss.results.spec import RunSpec

#: seconds for which a job may be unknown to the queue before it counts as gone: the controller may
#: be slow to list a new one, and a shared file system slow to show what an old one wrote
GONE = 20.0


class Slurm(Executor):
    """``slurm``: one job for each run; returns at once, or follows them with ``--wait``."""

    poll_seconds = 2.0
    detached = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._specs: list[RunSpec] = []
        self._followed: dict[Path, RunSpec] = {}
        self._missing: dict[Path, float] = {}
        self._silent = False

    def submit(self, specs: Sequence[RunSpec]) -> None:
        self._specs = list(specs)

    def poll(self) -> list[Outcome]:
        if self._specs:
            specs, self._specs = self._specs, []
            return self._start_all(specs)
        jobs = self._ask()
        if jobs is None:
            return []
        outcomes = []
        for run_dir, spec in list(self._followed.items()):
            outcome = self._look(run_dir, spec, jobs.get(run_dir, []))
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
        self._specs = []

    def script(self, specs: Sequence[RunSpec]) -> str:
        """Each run's batch script as sbatch would get it, tested by ``sbatch --test-only``."""
        scripts = []
        for spec in specs:
            executor, _ = self._submitter(spec)
            text = executor._make_submission_file_text(executor._submitit_command_str, "dry-run")
            commands.test(text)
            scripts.append(text)
        return "\n".join(dict.fromkeys(scripts))

    @classmethod
    def ask(cls, run_dirs: Sequence[Path]) -> dict[Path, tuple[Literal["queued", "running"], str]]:
        places = {path: path.resolve() for path in run_dirs}
        queued = commands.queued(places.values())
        said: dict[Path, tuple[Literal["queued", "running"], str]] = {}
        for path, place in places.items():
            if place in queued:
                entry = min(queued[place], key=lambda entry: entry.state != "RUNNING")
                why = f" ({entry.reason})" if entry.state == "PENDING" else ""
                told = f"Slurm job {entry.job} {entry.state.lower()}{why}"
                said[path] = "running" if entry.state == "RUNNING" else "queued", told
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
        jobs = [entry.job for entry in commands.queued([run_dir]).get(run_dir, ())]
        if not jobs:
            raise InputError(f"{run_dir.name} has no job in the queue. Look at: benchbcss status")
        # first, so that nobody who follows the run, and no job that ends, submits a successor
        note_submission(run_dir, NAME, [])
        commands.cancel(jobs)
        return f"job {jobs[0]} is cancelled"

    def _start_all(self, specs: Sequence[RunSpec]) -> list[Outcome]:
        """Submit runs; the outcomes of those that are not to be followed."""
        outcomes = []
        try:
            queued = commands.queued(self._place(spec) for spec in specs)
        except RunError as error:
            if shutil.which("sbatch"):
                return [self._refused(spec, error) for spec in specs]
            queued = {}  # each says for itself what is wrong
        for spec in specs:
            try:
                outcome = self._start(spec, queued.get(self._place(spec), []))
            except (OSError, BenchError) as error:
                outcome = self._refused(spec, error)
            if outcome is not None:
                outcomes.append(outcome)
        return outcomes

    def _start(self, spec: RunSpec, queued: Sequence[Queued]) -> Outcome | None:
        """Submit a run that is neither done nor queued. None where it is to be followed."""
        run_dir, shown = self._place(spec), spec.run_dir(self.settings.workspace)
        if finished(spec, self.settings):
            self.settings.say(f"{spec.backend}: already done, kept ({run_dir})")
            return Outcome(spec, shown, "kept")
        if queued:
            self.settings.say(f"{spec.backend}: queued already as job {queued[0].job} ({run_dir})")
        else:
            job = self._submit(spec, prepare(spec, self.settings).resolve())
            self.settings.say(
                f"{spec.backend}: submitted as job {job} (log: {run_dir / store.LOG})"
            )
        if not self.settings.wait:
            return Outcome(spec, shown, "submitted")
        self._followed[run_dir] = spec
        return None

    def _place(self, spec: RunSpec) -> Path:
        return spec.run_dir(self.settings.workspace).resolve()

    def _refused(self, spec: RunSpec, error: Exception) -> Outcome:
        self.settings.say(f"{spec.backend}: failed: {error}")
        return Outcome(spec, spec.run_dir(self.settings.workspace), "failed", str(error))

    def _submit(self, spec: RunSpec, run_dir: Path) -> str:
        """Submit the job and its successors; none is left behind where one is refused. Returns the
        job's number."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor, successors = self._submitter(spec)
        jobs: list[str] = []
        try:
            for _ in range(1 + successors):
                jobs.append(executor.submit(Work(run_dir)).job_id)
                note_submission(run_dir, NAME, jobs)
                executor.update_parameters(dependency=f"afternotok:{jobs[-1]}")
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            if jobs:
                (run_dir / store.SUBMITTED).unlink(missing_ok=True)
                commands.cancel(jobs)
            raise RunError(f"sbatch refused the job: {commands.told(error)}") from error
        return jobs[0]

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
        run_dir = self._place(spec)
        executor = SlurmExecutor(commands.folder_of(run_dir), python=python)
        executor.update_parameters(
            job_name=commands.job_name(run_dir),
            nodes=nodes,
            ntasks_per_node=spec.processes // nodes,
            srun_args=["--kill-on-bad-exit=1"],
            wckey=None,
            **parameters,
        )
        return executor, successors

    def _ask(self) -> dict[Path, list[Queued]] | None:
        """The queue; None where Slurm does not answer, as it does at times: the jobs go on."""
        try:
            queued = commands.queued(self._followed)
        except RunError as error:
            if not self._silent:
                self.settings.say(f"warning: {error} The jobs are followed once Slurm answers.")
            self._silent = True
            return None
        self._silent = False
        return queued

    def _look(self, run_dir: Path, spec: RunSpec, queued: Sequence[Queued]) -> Outcome | None:
        """What became of a run that is followed; None while it may go on."""
        if queued:
            self._missing.pop(run_dir, None)
            self.settings.watch(spec, status_of(run_dir))
            return None
        ended = (
            store.has_record(run_dir)
            or (run_dir / store.FAILURE).is_file()
            or store.is_held(run_dir)
        )
        shown = spec.run_dir(self.settings.workspace)
        if ended:
            return judge(spec, shown)
        if not submission(run_dir).get("jobs"):
            return Outcome(spec, shown, "failed", "it was cancelled; submitted again, it continues")
        since = self._missing.setdefault(run_dir, time.monotonic())
        if time.monotonic() - since < GONE:
            return None
        if has_advanced(run_dir):  # where nodes have no sbatch, and its successors are used up
            del self._missing[run_dir]
            return self._again(spec, run_dir)
        logs = commands.folder_of(shown)
        reason = f"its jobs have left the queue without a result (what Slurm said: {logs})"
        return failed(spec, shown, reason)

    def _again(self, spec: RunSpec, run_dir: Path) -> Outcome | None:
        try:
            job = self._submit(spec, run_dir)
        except BenchError as error:
            return self._refused(spec, error)
        self.settings.say(f"{spec.backend}: submitted again as job {job}")
        return None
