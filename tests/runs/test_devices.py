"""Workers side by side get GPUs of their own, by what CUDA itself would show them."""

import os
import sys
from pathlib import Path

import pytest
from tests_support import program

from benchbcss.runs.executors import local
from benchbcss.runs.executors.devices import Devices, visible

FOUR = ["0", "1", "2", "3"]


def test_each_worker_has_a_device_of_its_own():
    devices = Devices(FOUR)
    taken = [devices.take(1) for _ in range(4)]
    assert sorted(taken) == [("0",), ("1",), ("2",), ("3",)]


def test_a_device_given_back_is_taken_next():
    devices = Devices(FOUR)
    taken = [devices.take(1) for _ in range(4)]
    devices.give_back(taken[2])
    assert devices.take(1) == taken[2]


def test_more_workers_than_devices_share_evenly():
    devices = Devices(["a", "b"])
    taken = [devices.take(1) for _ in range(6)]
    assert taken.count(("a",)) == taken.count(("b",)) == 3


def test_a_worker_of_several_processes_has_as_many():
    devices = Devices(FOUR)
    assert devices.take(2) == ("0", "1")
    assert devices.take(2) == ("2", "3")
    assert devices.take(4) == devices.take(9) == ()  # all that there are


@pytest.mark.parametrize("names", [[], ["0"]])
def test_nothing_is_limited_where_nothing_is_to_be_shared(names):
    assert Devices(names).take(1) == ()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("2,5", ["2", "5"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("GPU-a, MIG-b", ["GPU-a", "MIG-b"]),
    ],
)
def test_what_the_user_made_visible_counts(given, names):
    assert visible({"CUDA_VISIBLE_DEVICES": given}) == names


def test_otherwise_the_driver_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program(tmp_path, "nvidia-smi", "echo GPU-one; echo GPU-two; echo 'no such line'")
    assert visible({}) == ["GPU-one", "GPU-two"]
    program(tmp_path, "nvidia-smi", "echo NVIDIA-SMI has failed; exit 9")
    assert visible({}) == []


def test_a_worker_sees_its_own_alone(tmp_path, monkeypatch):
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    monkeypatch.setattr(local, "worker_command", lambda run_dir: [sys.executable, "-c", code])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = []
    for number, devices in enumerate([("1", "3"), ()]):
        run_dir = Path(tmp_path / str(number))
        run_dir.mkdir()
        local._spawn(run_dir, devices).wait()
        seen.append((run_dir / "log.txt").read_text().strip())
    assert seen == ["1,3", "None"]
