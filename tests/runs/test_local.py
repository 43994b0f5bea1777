"""A worker counts as hung by what this process hears of it, never by a wall clock."""

import subprocess
import sys
import time

import pytest

from benchbcss.io import write_json
from benchbcss.runs.executors import local


@pytest.fixture
def worker(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        now = time.monotonic()
        yield local._Running(None, tmp_path, process, now, now)
        process.kill()


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that a test moves on."""
    moved = [time.monotonic()]
    monkeypatch.setattr(local.time, "monotonic", lambda: moved[0])
    return moved


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.0])
def test_a_step_of_the_wall_clock_kills_no_live_worker(worker, clock, monkeypatch, step):
    """As after a correction by NTP, or on another machine whose clock is wrong."""
    real = time.time
    monkeypatch.setattr(local.time, "time", lambda: real() + step)
    for beat in range(10):
        clock[0] += 200
        write_json(worker.run_dir / "status.json", {"stage": "training", "beat": beat, "time": 5.0})
        worker.listen()
        assert not worker.hung


def test_silence_is_noticed(worker, clock):
    write_json(worker.run_dir / "status.json", {"stage": "training", "beat": 1})
    worker.listen()
    clock[0] += local.HEARTBEAT_LOST + 1
    worker.listen()
    assert worker.hung


def test_a_worker_that_never_says_anything_is_noticed_too(worker, clock):
    clock[0] += local.HEARTBEAT_LOST + 1
    assert worker.listen() == {}
    assert worker.hung


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "\x00"])
def test_a_torn_status_says_nothing(worker, text):
    (worker.run_dir / "status.json").write_text(text)
    assert worker.listen() == {}
