import json
import time

import pytest
from board_support import fail, result, write
from tests_support import cli

from benchbcss.cli.status import collect, last_line


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


def test_nothing_is_no_error(tmp_path):
    assert cli("status", "--workspace", tmp_path, check=0).stdout == "done: 0 runs\n"


def test_the_last_line_of_a_long_log(tmp_path):
    path = tmp_path / "log.txt"
    assert last_line(path) == ""
    path.write_bytes(b"x" * 100_000 + b"\nstep 1\rstep 2\n\n  \n")
    assert last_line(path) == "step 2"
    path.write_bytes(b"\xff\xfe")
    assert last_line(path)
