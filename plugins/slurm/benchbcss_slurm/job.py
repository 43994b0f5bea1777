"""What a job does on its node: it carries the worker out and passes the scheduler's signals on.

This module is imported by the job itself, so it needs nothing but the standard library and the
harness's own protocol.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchbcss.errors import BenchError
from benchbcss.interrupt import SIGNALS, STOPPED
from benchbcss.results import store
from benchbcss.runs.executors.protocol import BUSY, note_submission, open_log, worker_command
from benchbcss_slurm import commands
from benchbcss_slurm.commands import NAME

POLL = 0.2  # seconds between two looks at the worker
#: seconds for which a job waits where another process still owns the run's folder: the node of a
#: killed job may need a while to end it
PATIENCE = 120.0
#: what a job's environment says of itself, and would decide how another is submitted
_OF_A_JOB = ("SLURM_", "SBATCH_", "SUBMITIT_")
#: changes of these are no progress
_IDLE = {store.LOG, store.STATUS, store.SUBMITTED, store.SPEC, store.FAILURE}


class Interrupted(RuntimeError):
    """The run is not at its end. It makes the job fail, so that its successor starts."""


@dataclass
class Work:
    """One task of a job. Called, it returns when the run is at its end, with a result or a recorded
    failure, and raises ``Interrupted`` otherwise."""

    run_dir: Path

    def __call__(self) -> str:
        rank = int(os.environ.get("SLURM_PROCID", "0"))
        if self._is_done():
            return "done"
        self._worker: subprocess.Popen[bytes] | None = None
        self._signalled = False
        for number in SIGNALS:  # submitit would end the job on them: see resubmit in executor.py
            signal.signal(number, self._pass_on)
        if not rank:
            self._keep_a_successor()
        code = self._work(_ranks())
        if rank:
            return f"rank {rank} ended with {code}"
        if code == 0 and self._is_done():
            self._free_successors()
            return "done"
        if (self.run_dir / store.FAILURE).is_file():
            self._free_successors()
            return "failed"
        raise Interrupted(f"the worker ended with {code}; the run goes on in the next job")

    def _is_done(self) -> bool:
        return store.is_finished(self.run_dir) or store.is_held(self.run_dir)

    def _work(self, environment: dict[str, str]) -> int:
        """The exit status of the worker; where another process owns the folder, after a while."""
        until = time.monotonic() + PATIENCE
        with open_log(self.run_dir) as log:
            while True:
                if self._signalled:  # the time is up already
                    return STOPPED
                self._worker = subprocess.Popen(
                    worker_command(self.run_dir),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
                while (code := self._worker.poll()) is None:
                    time.sleep(POLL)
                if code != BUSY or self._signalled or time.monotonic() > until:
                    return code
                time.sleep(2.0)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(number)

    def _keep_a_successor(self) -> None:
        """The last successor submits the next, so that a run goes on as long as it gets ahead; one
        whose time limit is too short for that is not queued for ever. Without sbatch on the node,
        or where it refuses, the run is continued by whoever follows it, or by the same command."""
        here, jobs = os.environ.get("SLURM_JOB_ID", ""), commands.noted(self.run_dir)
        if len(jobs) < 2 or jobs[-1] != here or not has_advanced(self.run_dir):
            return  # the only job: no successors are wanted, or they are being submitted
        try:
            job = _submit_again(commands.folder_of(self.run_dir), here)
            note_submission(self.run_dir, NAME, [*jobs, job])
            print(f"the next successor is job {job}", flush=True)
        except (OSError, subprocess.SubprocessError, BenchError) as error:
            print(f"no successor: {error}", flush=True)

    def _free_successors(self) -> None:
        """They wait for a failure that will not come, and all but the first would start."""
        here = os.environ.get("SLURM_JOB_ID")
        others = [job for job in commands.noted(self.run_dir) if job != here]
        if others and shutil.which("scancel"):
            subprocess.run(["scancel", *others], capture_output=True, timeout=60)


def has_advanced(run_dir: Path) -> bool:
    """Whether anything to go on from was written since jobs were last submitted."""
    try:
        submitted = (run_dir / store.SUBMITTED).stat().st_mtime
    except OSError:
        return False
    written = (path for path in run_dir.rglob("*") if path.name not in _IDLE)
    return any(_changed(path) > submitted for path in written)


def _changed(path: Path) -> float:
    """When a file was; 0 for one that has just been replaced, and for a folder."""
    try:
        return path.stat().st_mtime if path.is_file() else 0.0
    except OSError:
        return 0.0


def _submit_again(folder: Path, job: str) -> str:
    """Submit a job's script once more, to start if the job fails; returns the new job's number."""
    words = {key: value for key, value in os.environ.items() if not key.startswith(_OF_A_JOB)}
    command = ["sbatch", "--parsable", f"--dependency=afternotok:{job}"]
    done = subprocess.run(
        [*command, str(folder / f"{job}_submission.sh")],
        env=words,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    number = done.stdout.strip().split(";")[0]
    # what submitit reads the work from
    shutil.copyfile(folder / f"{job}_submitted.pkl", folder / f"{number}_submitted.pkl")
    script = folder / f"{number}_submission.sh"
    shutil.copyfile(folder / f"{job}_submission.sh", script)
    return number


def _ranks() -> dict[str, str]:
    """The environment of a worker: as torchrun would have it where a job has several tasks."""
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
