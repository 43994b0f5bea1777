import json
import os
import time

import pytest
from board_support import fail, result, write
from tests_support import cli

from benchbcss.cli.status import collect, last_line
from benchbcss.runs.queue import Queue


@pytest.fixture
def workspace(tmp_path):
    write(tmp_path, result("finished"))
    write(tmp_path, result("finished", preset="smoke"), "seed0-apart")
    fail(tmp_path, "broken", "no memory\n" * 99, when=time.time() - 7300)
    for name, age in (("busy", 0), ("gone", 9999)):
        run = tmp_path / "runs" / "bcss5" / name / "seed0-x"
        run.mkdir(parents=True)
        beat = {"stage": "training", "step": 120, "time": time.time() - age, "pid": 1}
        (run / "status.json").write_text(json.dumps(beat))
        (run / "log.txt").write_text(f"first\nlast of {name}\n\n")
    return tmp_path


def test_running_first_then_interrupted_failed_and_done(workspace):
    runs = collect(workspace)
    assert [(run["backend"], run["state"]) for run in runs] == [
        ("busy", "running"),
        ("gone", "interrupted"),
        ("broken", "failed"),
        ("finished", "done"),
        ("finished", "done"),
    ]
    assert runs[0]["last_line"] == "last of busy"
    assert collect(workspace, "amgad5") == []


def test_in_words(workspace):
    text = cli("status", "--workspace", workspace, check=0, COLUMNS="80").stdout
    assert "running: busy seed0-x: training, step 120\n" in text
    assert " s ago: last of busy\n" in text
    assert "failed: broken seed0-y: no memory\n  2 h ago: nothing is logged\n" in text
    assert "The same command continues what was interrupted." in text
    assert text.endswith("done: 2 runs, see benchbcss leaderboard\n")
    assert max(map(len, text.splitlines())) <= 80


def test_as_json(workspace):
    runs = json.loads(cli("status", "--workspace", workspace, "--format", "json", check=0).stdout)
    assert {run["state"] for run in runs} == {"running", "interrupted", "failed", "done"}


def test_how_far_a_run_is(workspace):
    status = workspace / "runs/bcss5/busy/seed0-x/status.json"
    count = {"done": 120, "total": 300, "unit": "step", "rate": 2.0, "left": 90.0}
    beat = {"stage": "training", "pid": 1, "time": time.time(), "epoch": 3, "epochs": 8, **count}
    status.write_text(json.dumps({**beat, "part": "validating 2/5 ROIs"}))
    busy = collect(workspace)[0]
    assert busy["detail"] == ("training, step 120/300, 1:30 left, validating 2/5 ROIs, epoch 3/8")
    assert (busy["stage"], busy["unit"], busy["rate"]) == ("training", "step", 2.0)
    assert (busy["done"], busy["total"], busy["seconds_left"]) == (120, 300, 90.0)
    status.write_text(json.dumps({**beat, "time": time.time() - 9999}))
    gone = [run for run in collect(workspace) if run["state"] == "interrupted"]
    assert "training, step 120/300, epoch 3/8" in [run["detail"] for run in gone]


def test_what_a_living_command_has_yet_to_begin(workspace):
    runs = [workspace / f"runs/bcss5/{name}/seed0-x" for name in ("busy", "gone", "next")]
    with Queue(workspace, runs):
        states = {run["backend"]: (run["state"], run["detail"]) for run in collect(workspace)[:3]}
        assert states["busy"][0] == "running"
        assert states["gone"] == ("queued", "1 of 2 in line")  # to be continued
        assert states["next"] == ("queued", "2 of 2 in line")
        text = cli("status", "--workspace", workspace, check=0, COLUMNS="80").stdout
        assert "queued: next seed0-x: 2 of 2 in line\n" in text
        assert "interrupted" not in text
        assert collect(workspace, "amgad5") == []
    assert "queued" not in {run["state"] for run in collect(workspace)}


def test_a_clusters_queue_is_in_its_order_and_says_why_runs_wait(workspace, monkeypatch, capsys):
    """The reason of one that waits is never cut off, however narrow the terminal."""
    from benchbcss.cli import status

    why = "Slurm job 7 pending (ReqNodeNotAvail, UnavailableNodes:gpu[01-64])"
    said = {}
    for place, name in enumerate(("third", "first", "second")):
        run = workspace / "runs" / "bcss5" / name / "seed0-0123456789ab"
        run.mkdir(parents=True)
        (run / "spec.json").write_text("{}")
        made = time.time() - 9000 + {"first": 0, "second": 10, "third": 20}[name]
        os.utime(run / "spec.json", (made, made))
        said[run] = ("queued", why if place else "short")
    monkeypatch.setattr(status, "_submitted", lambda run_dirs: said)
    runs = [run for run in collect(workspace) if run["state"] == "queued"]
    assert [run["backend"] for run in runs] == ["first", "second", "third"]
    monkeypatch.setenv("COLUMNS", "60")
    status._show(runs)
    text = capsys.readouterr().out
    assert "queued: third seed0-0123456789ab: short\n" in text
    assert "queued: first seed0-0123456789ab:\n  Slurm job 7 pending (ReqNodeNotAvail" in text
    assert " ".join(text.split()).count(why) == 2


def test_nothing_is_no_error(tmp_path):
    assert cli("status", "--workspace", tmp_path, check=0).stdout == "done: 0 runs\n"


def test_the_last_line_of_a_long_log(tmp_path):
    path = tmp_path / "log.txt"
    assert last_line(path) == ""
    path.write_bytes(b"x" * 100_000 + b"\nstep 1\rstep 2\n\n  \n")
    assert last_line(path) == "step 2"
    path.write_bytes(b"\xff\xfe")
    assert last_line(path)
