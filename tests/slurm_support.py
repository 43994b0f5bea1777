"""Runs on a real Slurm of one node, for tests marked ``slurm``."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests_support import cli

from benchbcss.runs.executors.protocol import submission


def need_slurm() -> None:
    """Skips the test where there is none."""
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("there is no Slurm here (../shared/slurm/start-single-node starts one)")


class Command:
    """``benchbcss`` on a workspace, with the options that tests need on one small node."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.said = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        done = cli(*words, "--workspace", self.workspace)
        self.said = done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def words(self, *words: str) -> list[str]:
        """``run --executor slurm`` on the smallest phantom."""
        slurm = [f for p in ("time=15", "mem=2GB", "cpus_per_task=1") for f in ("--slurm", p)]
        small = ["--no-floors", "--device", "cpu", "--suite", str(self.suite())]
        place = ["--workspace", str(self.workspace)]
        return ["run", *words, "--executor", "slurm", *slurm, *small, *place]

    def run(self, *words: str, status: int = 0) -> list[dict]:
        """What became of each run."""
        done = cli(*self.words(*words), "--format", "json")
        self.said = done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def follow(self, *words: str) -> subprocess.Popen[str]:
        """With ``--wait``, in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "benchbcss", *self.words(*words), "--wait"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def suite(self) -> Path:
        path = self.workspace.parent / "tiny.yaml"
        path.write_text(
            "summary: tiny\nphantom: {rois: 12, size: 128, seed: 0}\nlabel_map: bcss5\n"
            "split: splits.csv\ntile: {size: 64, overlap: 16}\ntracks: [semantic]\n"
            "budget: {epochs: null, steps: 30}\ndefault_preset: smoke\n"
        )
        return path


@contextlib.contextmanager
def partition_down():
    subprocess.run(["scontrol", "update", "partition=debug", "state=down"], check=True)
    try:
        yield
    finally:
        subprocess.run(["scontrol", "update", "partition=debug", "state=up"], check=True)


def jobs(outcome: dict) -> list[str]:
    return submission(Path(outcome["run"]))["jobs"]


def in_queue(numbers: list[str]) -> dict[str, str]:
    command = ["squeue", "--noheader", "--format=%i %T"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    entries = dict(line.split() for line in listing.splitlines())
    return {job: entries[job] for job in numbers if entries.get(job, "COMPLETING") != "COMPLETING"}


def wait_for(condition, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.5)


def comparable(run_dir: Path) -> dict:
    """A record without times and machines."""
    result = json.loads((run_dir / "result.json").read_text())
    training = {k: v for k, v in result["training"].items() if "seconds" not in k}
    return {"tracks": result["tracks"], "stability": result["stability"], "training": training}


def logged(run_dir: Path) -> list[dict]:
    lines = (run_dir / "epochs.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]
