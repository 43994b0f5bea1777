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

from benchbcss.interrupt import SIGNALS, STOPPED
from benchbcss.results import store
from benchbcss.runs.executors.protocol import BUSY, open_log, submission, worker_command

POLL = 0.2  # seconds between two looks at the worker
#: seconds for which a job waits where another process still owns the run's folder: the node of a
#: killed job may need a while to end it
PATIENCE = 120.0


class Interrupted(RuntimeError):
    """The run is not at its end. It makes the job fail, so that its successor starts."""


@dataclass
class Work:
    """One task of a job. Called, it returns when the run is at its end, with a result or a recorded
    failure, and raises ``Interrupted`` otherwise."""

    run_dir: Path

    def __call__(self) -> str:
        rank, begun = int(os.environ.get("SLURM_PROCID", "0")), time.time()
        if self._is_done():
            return "done"
        self._worker: subprocess.Popen[bytes] | None = None
        self._signalled = False
        for number in SIGNALS:  # submitit would end the job on them: see resubmit in executor.py
            signal.signal(number, self._pass_on)
        code = self._work(_ranks())
        if rank:
            return f"rank {rank} ended with {code}"
        if code == 0 and self._is_done():
            self._free_successors()
            return "done"
        if (self.run_dir / store.FAILURE).is_file():
            self._free_successors()
            return "failed"
        last = [os.environ.get("SLURM_JOB_ID")] == self._jobs()[-1:]
        if code == STOPPED and last and self._advanced(begun) and self._requeued():
            time.sleep(3600)  # Slurm ends this job to queue it again
        raise Interrupted(f"the worker ended with {code}; the run goes on in the next job")

    def _is_done(self) -> bool:
        return store.is_finished(self.run_dir) or store.is_held(self.run_dir)

    def _work(self, environment: dict[str, str]) -> int:
        """The exit status of the worker; where another process owns the folder, after a while."""
        until = time.monotonic() + PATIENCE
        with open_log(self.run_dir) as log:
            while True:
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

    def _advanced(self, begun: float) -> bool:
        """Whether this job saved something to go on from. A run whose time limit is too short for
        that is not queued for ever."""
        saved = [*self.run_dir.glob("checkpoints/*"), self.run_dir / "predictions.json"]
        return any(path.stat().st_mtime >= begun for path in saved if path.exists())

    def _requeued(self) -> bool:
        """Whether Slurm queued this job, which has no successor, again. That takes it minutes, so
        it comes second; it needs ``scontrol`` on the node and a cluster that requeues."""
        if shutil.which("scontrol") is None:
            return False
        asked = subprocess.run(
            ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], capture_output=True, timeout=60
        )
        return asked.returncode == 0

    def _jobs(self) -> list[str]:
        return [str(job) for job in submission(self.run_dir).get("jobs", ())]

    def _free_successors(self) -> None:
        """They wait for a failure that will not come, and all but the first would start."""
        others = [job for job in self._jobs() if job != os.environ.get("SLURM_JOB_ID")]
        if others and shutil.which("scancel"):
            subprocess.run(["scancel", *others], capture_output=True, timeout=60)


def _ranks() -> dict[str, str]:
    """The environment of a worker: as torchrun would have it where a job has several tasks."""
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
