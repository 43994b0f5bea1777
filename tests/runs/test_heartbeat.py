import os
import signal
import statistics
import threading
import time

import pytest

from benchbcss.io import read_json
from benchbcss.runs import heartbeat
from benchbcss.runs.heartbeat import Stage


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "COUNTING_SECONDS", 0.05)
    stage = Stage(tmp_path)
    yield stage
    stage.stop()


def status(stage, **wanted):
    """What the file says once it says ``wanted``."""
    for _ in range(200):
        content = read_json(stage.path) if stage.path.is_file() else {}
        if wanted.items() <= content.items():
            return content
        time.sleep(0.02)
    raise AssertionError(content)


def test_a_stage_is_written_and_logged_at_once(stage, capsys):
    stage("training", epoch=1)
    content = read_json(stage.path)
    assert (content["stage"], content["epoch"]) == ("training", 1)
    assert capsys.readouterr().out.endswith("] training epoch=1\n")


def test_counts_are_written_while_they_last(stage, capsys):
    stage("training")
    with stage.counting(300, "step") as steps:
        steps(120)
        status(stage, done=120, total=300, unit="step")
        for roi in stage.counted(["a", "b"], doing="validating"):
            if roi == "b":
                status(stage, done=120, part="validating 1/2 ROIs")
        steps(121)
        assert "part" not in status(stage, done=121)
        stage("training", loss="0.5")  # an epoch ended: still the same count
        assert status(stage, loss="0.5")["done"] == 121
    stage("scoring")
    assert "done" not in read_json(stage.path)
    assert capsys.readouterr().out.count("\n") == 3  # no line for a count


def test_a_count_ends_with_an_error(stage):
    counting = stage.counting(3)
    counting.__enter__()(1)
    assert not counting.__exit__(KeyError, KeyError(), None)
    stage("scoring")
    assert "done" not in read_json(stage.path)


def test_a_note_is_a_line_of_the_log(stage, capsys):
    stage.note("continuing at step 120 of 300")
    assert capsys.readouterr().out == "note: continuing at step 120 of 300\n"


def test_counting_costs_a_step_nothing(stage):
    """Of a step of 10 ms, the shortest that there are, at most a hundredth."""
    with stage.counting(10**6, "step") as count:
        costs = []
        for turn in range(50):
            begun = time.perf_counter()
            for step in range(1000):
                count(1000 * turn + step)
            costs.append((time.perf_counter() - begun) / 1000)
    assert statistics.median(costs) < 0.01 * 0.010


def test_a_worker_whose_command_is_gone_saves_what_it_has(tmp_path, monkeypatch):
    """It is told to stop as by a scheduler, and is ended only where that takes long."""
    told = []
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat.interrupt, "STOPPING", 0.1)
    monkeypatch.setattr(heartbeat.os, "kill", lambda pid, number: told.append((pid, number)))
    ended = threading.Event()
    monkeypatch.setattr(heartbeat.os, "_exit", lambda code: (told.append(code), ended.set()))
    parent = [1]
    monkeypatch.setattr(heartbeat.os, "getppid", lambda: parent[0])
    stage = Stage(tmp_path)
    time.sleep(0.05)
    assert told == []
    parent[0] = 2
    assert ended.wait(5)
    stage.stop()
    assert told[:2] == [(os.getpid(), signal.SIGTERM), 1]
