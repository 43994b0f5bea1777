"""``benchbcss runs``: what a workspace holds; nothing goes unless it is told to."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from board_support import result, write
from filelock import FileLock
from PIL import Image
from tests_support import cli, write_folder

from benchbcss.errors import InputError, UnknownNameError
from benchbcss.results import store
from benchbcss.runs import stored


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A workspace with two scored predictions."""
    root = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(0)
    masks = {f"r{i}.png": rng.choice([1, 2, 3], (40, 40)).astype(np.uint8) for i in range(4)}
    parts = dict(zip(masks, ("train", "val", "test", "test"), strict=True))
    data = write_folder(root / "d", masks, split=parts)
    for name in ("one", "two"):
        (root / name).mkdir()
        for roi in ("r2.png", "r3.png"):
            Image.fromarray(masks[roi] - 1).save(root / name / roi)
        common = ["--data", data, "--split", data / "splits.csv", "--workspace", root / "w"]
        cli("score", root / name, *common, check=0)
    return root / "w"


@pytest.fixture
def workspace(tmp_path):
    """Folders as runs in every state leave them."""
    for name, files in {
        "a/seed0-1": {"spec.json": "{}", "result.json": "{}"},
        "a/.seed0-1.old1": {"result.json": "{}"},
        "b/seed0-2": {"failure.json": '{"reason": "no luck"}'},
        "c/seed0-3": {"spec.json": "{}"},
        "c/notes": {"mine.txt": "not a run"},
    }.items():
        folder = tmp_path / "w" / "runs" / "s" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text)
    return tmp_path / "w"


def test_states(workspace):
    table = {(run.backend, run.path.name): run.state for run in stored.every(workspace)}
    assert table == {
        ("a", ".seed0-1.old1"): "set aside",
        ("a", "seed0-1"): "done",
        ("b", "seed0-2"): "failed",
        ("c", "seed0-3"): "interrupted",
    }


def test_what_names_mean(workspace):
    def names(*words, **options):
        return [run.path.name for run in stored.chosen(workspace, words, **options)]

    runs = workspace / "runs" / "s"
    assert names("a") == ["seed0-1"]
    assert names("a", aside=True) == [".seed0-1.old1", "seed0-1"]
    assert names("seed0-2", "b") == names("b/seed0-2") == names("s/b/seed0-2") == ["seed0-2"]
    with pytest.raises(UnknownNameError, match="no run 'a/seed0-2'"):
        names("a/seed0-2")
    assert names(str(runs / "c" / "seed0-3")) == ["seed0-3"]
    assert names(".seed0-1.old1") == [".seed0-1.old1"]
    with pytest.raises(UnknownNameError, match="no run 'a'"):
        names("a", suite="t")
    for path in (runs / "c" / "notes", runs, workspace.parent, runs / "a" / ".." / "c"):
        with pytest.raises(InputError, match="is no run of the workspace"):
            names(str(path))


def test_a_running_run_is_not_removed(workspace):
    (run,) = stored.chosen(workspace, ["c"])
    lock = FileLock(store.lock_file(run.path))
    holder = "import sys, filelock\nlock = filelock.FileLock(sys.argv[1])\nlock.acquire()\n"
    holder += "print(flush=True)\n"
    worker = subprocess.Popen(
        [sys.executable, "-c", holder + "input()", lock.lock_file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    worker.stdout.readline()
    try:
        assert stored.chosen(workspace, ["c"])[0].state == "running"
        with pytest.raises(InputError, match="is running"):
            stored.remove(run)
        done = cli("runs", "rm", "b", "c", "--yes", "--workspace", workspace, check=2)
        assert "Nothing is removed" in done.stderr
    finally:
        worker.kill()
        worker.wait()
    assert len(stored.every(workspace)) == 4
    status = {"pid": os.getpid(), "time": time.time()}
    (run.path / "status.json").write_text(json.dumps(status))
    assert stored.chosen(workspace, ["c"])[0].state == "running"
    (run.path / "status.json").write_text(json.dumps(status | {"time": 0.0}))
    assert stored.chosen(workspace, ["c"])[0].state == "interrupted"
    (run.path / "status.json").write_text(json.dumps(status))
    with pytest.raises(InputError, match="is running"):
        stored.remove(run)
    (run.path / "status.json").unlink()
    stored.remove(run)
    assert not run.path.exists()


def test_links_are_not_followed(workspace, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "result.json").write_text("{}")
    (workspace / "runs" / "s" / "a" / "linked").symlink_to(elsewhere)
    assert "linked" not in [run.path.name for run in stored.every(workspace)]


def test_nothing_is_removed_without_being_told(workspace):
    done = cli("runs", "rm", "b", "--workspace", workspace, check=2)
    assert "Nothing is removed without confirmation. Pass --yes" in done.stderr
    assert len(stored.every(workspace)) == 4
    cli("runs", "rm", "b", "--yes", "--workspace", workspace, check=0)
    assert not (workspace / "runs" / "s" / "b").exists()
    assert len(stored.every(workspace)) == 3
    assert (workspace / "runs" / "s" / "c" / "notes" / "mine.txt").exists()
    done = cli("runs", "rm", "bb", "--yes", "--workspace", workspace, check=2)
    assert "There is no run 'bb'" in done.stderr


def test_list_show_and_rm_of_real_runs(scored):
    rows = json.loads(cli("runs", "list", "--workspace", scored, "--format", "json").stdout)
    assert [(row["backend"], row["state"]) for row in rows] == [("one", "done"), ("two", "done")]
    assert rows[0]["bytes"] > 1000
    table = cli("runs", "list", "two", "--workspace", scored, check=0).stdout.splitlines()
    assert len(table) == 2
    (entry,) = json.loads(
        cli("runs", "show", "one", "--workspace", scored, "--format", "json", check=0).stdout
    )
    assert entry["mean_dice"]["semantic"] == 1
    assert entry["split"].endswith("1 train, 1 val, 2 test ROIs")
    assert "mean_dice" in cli("runs", "show", "one", "--workspace", scored, check=0).stdout
    cli("runs", "rm", entry["path"], "--yes", "--workspace", scored, check=0)
    board = cli("leaderboard", "--workspace", scored, "--format", "csv", check=0).stdout
    assert "two," in board
    assert "one," not in board


def test_a_closed_or_full_stdout_is_no_traceback(scored):
    words = [sys.executable, "-m", "benchbcss", "runs", "list", "--workspace", str(scored)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: standard output cannot be used: No space left on device. Free space"
    )
    for name in (words, [*words[:3], "leaderboard", "--workspace", str(scored)]):
        done = subprocess.run(
            ["bash", "-c", '"$@" >&-', "-", *name], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: standard output cannot be used: it is closed")


def drawn(workspace):
    """A finished run with a confusion matrix and three validations."""
    content = result("drawn", training={"trained": True, "best_step": 4})
    content["tracks"]["semantic"]["confusion"] = {
        "names": ["tumor", "stroma"],
        "counts": [[90, 10], [40, 60]],
        "by_truth": [[0.9, 0.1], [0.4, 0.6]],
        "by_prediction": [[0.7, 0.1], [0.3, 0.9]],
        "most_confused": ["40% of stroma was called tumor"],
    }
    run = write(workspace, content)
    epochs = [
        {"epoch": i, "step": 2 * i, "loss": {"loss": 2.0 - i}, "val_mean_dice": 0.1 * i}
        for i in range(1, 4)
    ]
    (run / "epochs.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    return run


def test_charts_of_a_run(tmp_path):
    pytest.importorskip("altair")
    drawn(tmp_path)
    files = {"--confusion": tmp_path / "matrix.svg", "--curves": tmp_path / "curves.png"}
    options = [word for pair in files.items() for word in pair]
    said = cli("runs", "show", "drawn", *options, "--workspace", tmp_path, check=0)
    assert said.stderr.splitlines()[-2:] == [f"wrote {path}" for path in files.values()]
    assert "40% of stroma was called tumor" in " ".join(
        re.sub("<[^>]*>", " ", files["--confusion"].read_text()).split()
    )
    assert files["--curves"].read_bytes().startswith(b"\x89PNG")


def test_a_chart_that_there_is_not(tmp_path):
    pytest.importorskip("altair")
    write(tmp_path, result("plain"))
    drawn(tmp_path)
    path = tmp_path / "x.svg"
    for names, option, words in (
        (["plain"], "--confusion", "has no confusion matrix"),
        (["plain"], "--curves", "there is no training curve"),
        (["plain", "drawn"], "--curves", "A chart is of one finished run"),
    ):
        done = cli("runs", "show", *names, option, path, "--workspace", tmp_path, check=2)
        assert words in done.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"pid": 2**22 + 1, "host": "node7", "time": -60}, "running"),  # not to be seen from here
        ({"pid": os.getpid(), "host": "node7", "time": -600}, "interrupted"),
        ({"pid": 2**22 + 1, "host": "node7", "time": 9e9}, "interrupted"),
        ({"pid": 2**22 + 1, "time": -1}, "interrupted"),
        ({"pid": 1e30, "time": -1}, "interrupted"),
        ({"pid": 10**30, "host": "node7", "time": -1}, "running"),
        ({"pid": float("inf"), "time": 10**400}, "interrupted"),
    ],
)
def test_a_heartbeat_of_another_machine_keeps_its_run(workspace, status, state):
    """Also where the lock is not to be seen; whatever stands in the file is no crash."""
    run = stored.chosen(workspace, ["c"])[0]
    status = {**status, "time": time.time() + status["time"]} if status["time"] < 1e99 else status
    (run.path / "status.json").write_text(json.dumps(status))
    assert stored.chosen(workspace, ["c"])[0].state == state
    if state == "running":
        with pytest.raises(InputError, match="is running"):
            stored.remove(run)


def test_a_run_at_work_has_a_size(workspace, monkeypatch):
    """Its files are replaced, and some are gone before they are looked at."""
    run = stored.chosen(workspace, ["c"])[0]
    before, kept = run.size, Path.is_file
    gone = run.path / ".a.tmp"

    def is_file(path):
        there = kept(path)
        if path == gone:
            path.unlink()
        return there

    gone.write_text("x")
    monkeypatch.setattr(Path, "is_file", is_file)
    assert run.size == before
    shutil.rmtree(run.path)
    assert (run.size, run.changed) == (0, 0.0)
