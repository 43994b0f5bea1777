"""A worker counts as hung by what this process hears of it, never by a wall clock."""

import os
import subprocess
import sys
import time

import pytest

from benchbcss.errors import InputError
from benchbcss.io import write_json
from benchbcss.runs.executors import Settings, local


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


#: a worker that, told to stop, takes a moment to save what it has; told so twice, it would not
SAVES = """
import signal, sys, time
from pathlib import Path

def stop(number, frame):
    time.sleep(0.2)
    Path("saved").write_text("")
    sys.exit(76)

signal.signal(signal.SIGTERM, stop)
print(flush=True)
time.sleep(60)
"""
#: one that does not hear it, such as in the midst of a long computation
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(60)
"""


class Spec:
    backend = "a"


@pytest.fixture
def at_work(tmp_path, monkeypatch):
    """Begins a worker of an executor that is told to stop within ``seconds``."""
    begun = []

    def begin(code, seconds=20.0, **settings):
        monkeypatch.setattr(local, "STOPPING", seconds)
        said = []
        executor = local.Local(Settings(tmp_path, said.append, **settings))
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, stdout=-1, cwd=tmp_path, start_new_session=True)
        process.stdout.readline()
        now = time.monotonic()
        executor._running.append(local._Running(Spec, tmp_path, process, now, now))
        begun.append(process)
        return executor, process, said

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(executor):
    """The outcome of the only worker."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if outcomes := executor.poll():
            return outcomes[0]
        time.sleep(0.02)
    raise AssertionError("it never ended")


def test_an_interrupted_command_has_its_workers_save_what_they_have(at_work, tmp_path):
    executor, process, _ = at_work(SAVES)
    executor.cancel()
    assert process.returncode == 76
    assert (tmp_path / "saved").exists()


def test_a_worker_that_does_not_stop_is_ended(at_work):
    executor, process, said = at_work(DEAF, seconds=1.2)
    executor.cancel()
    assert process.returncode == -9
    assert said == ["what was trained is being saved, for 1.2 s at most; Ctrl-C ends that too"]


def test_a_second_interruption_ends_it_at_once(at_work, monkeypatch):
    executor, process, _ = at_work(DEAF)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(local.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        executor.cancel()
    assert process.returncode == -9


@pytest.mark.parametrize(("code", "seconds"), [(SAVES, 20.0), (DEAF, 0.3)], ids=["saves", "deaf"])
def test_a_late_worker_saves_what_it_has(at_work, tmp_path, code, seconds):
    executor, process, _ = at_work(code, seconds, timeout=0.01)
    outcome = ended(executor)
    assert outcome.status == "failed"
    assert "stopped after 0.01 s (--timeout); the same command continues it" in outcome.reason
    assert process.returncode == (76 if code == SAVES else -9)
    assert (tmp_path / "saved").exists() == (code == SAVES)


def test_a_worker_is_known_wherever_it_was_started(tmp_path, monkeypatch):
    """The default workspace is a relative path, which from another folder is another one."""
    (tmp_path / "a" / "runs" / "x").mkdir(parents=True)
    (tmp_path / "b" / "runs" / "x").mkdir(parents=True)
    code = "print(flush=True); import time; time.sleep(60)"
    command = [sys.executable, "-c", code, "-m", "benchbcss.runs.worker", "runs/x"]
    with subprocess.Popen(command, stdout=-1, cwd=tmp_path / "a") as process:
        process.stdout.readline()
        monkeypatch.chdir(tmp_path / "b")
        assert local._is_worker(process.pid, tmp_path / "a" / "runs" / "x")
        assert not local._is_worker(process.pid, tmp_path / "b" / "runs" / "x")
        assert not local._is_worker(os.getpid(), tmp_path / "a" / "runs" / "x")
        process.kill()


@pytest.mark.parametrize(
    ("error", "said"), [(PermissionError, "of another user"), (ProcessLookupError, None)]
)
def test_a_worker_that_cannot_be_told_is_one_sentence(tmp_path, monkeypatch, error, said):
    write_json(tmp_path / "status.json", {"pid": 7})

    def kill(pid, number):
        raise error(1, "Operation not permitted")

    monkeypatch.setattr(local, "_is_worker", lambda pid, run_dir: True)
    monkeypatch.setattr(local.os, "kill", kill)
    if said is None:
        assert local.Local.stop(tmp_path) == "it has just ended"
        return
    with pytest.raises(InputError, match=said):
        local.Local.stop(tmp_path)
