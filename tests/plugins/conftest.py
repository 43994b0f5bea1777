"""Commands on a real Slurm, for tests marked ``slurm``."""

import shutil
import subprocess

import pytest
from slurm_support import Command

from benchbcss.runs.executors.protocol import submission


@pytest.fixture(scope="module")
def cluster():
    """Skips where there is none; the node is free again afterwards."""
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("there is no Slurm here (../shared/slurm/start-single-node starts one)")


@pytest.fixture
def command(cluster, tmp_path):
    yield Command(tmp_path / "workspace")
    for path in tmp_path.glob("**/runs/*/*/*"):
        subprocess.run(["scancel", *submission(path).get("jobs", ())], capture_output=True)
