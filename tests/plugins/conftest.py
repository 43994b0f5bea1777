"""Commands on a real Slurm, for tests marked ``slurm``."""

import subprocess

import pytest
from slurm_support import Command, need_slurm

from benchbcss.runs.executors.protocol import submission


@pytest.fixture(scope="module")
def cluster():
    """Skips where there is none."""
    need_slurm()


@pytest.fixture
def command(cluster, tmp_path):
    yield Command(tmp_path / "workspace")
    for path in tmp_path.glob("**/runs/*/*/*"):
        subprocess.run(["scancel", *submission(path).get("jobs", ())], capture_output=True)
