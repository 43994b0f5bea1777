"""Cores that this process may use: of the machine, of its container, of its Slurm job."""

import os
import subprocess
import sys

import pytest

from benchbcss import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_is_kept_to():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from benchbcss.cores import cores; print(cores())"
    environment = {key: value for key, value in os.environ.items() if "SLURM" not in key}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert answer.stdout == "1\n"


@pytest.mark.parametrize(
    ("machine", "slurm", "expected"),
    [
        (16, None, 16),
        (16, "4", 4),
        (16, "64", 16),  # a job of another node's size
        (16, "0", 16),
        (16, "4(x2)", 16),  # what Slurm writes for several nodes, and what nobody can read
        (1, "8", 1),
    ],
)
def test_of_machine_and_job_the_smaller(monkeypatch, machine, slurm, expected):
    monkeypatch.setattr("joblib.cpu_count", lambda: machine)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if slurm:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert cores.cores() == expected
