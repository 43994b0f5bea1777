import os
import signal
import subprocess
import sys
from pathlib import Path

from benchbcss.runs.queue import Queue, queued

WAITS = """
import sys
from pathlib import Path
from benchbcss.runs.queue import Queue
workspace = Path(sys.argv[1])
with Queue(workspace, [workspace / "runs/s/a/seed0-x", workspace / "runs/s/b/seed0-x"]) as queue:
    print("ready", flush=True)
    input()
"""


def places(workspace, *names):
    return [workspace / "runs" / "s" / name / "seed0-x" for name in names]


def waiting(workspace):
    return [path for path, _ in queued(workspace)]


def test_what_has_not_ended_in_its_order(tmp_path):
    runs = places(tmp_path, "b", "a", "c")
    assert waiting(tmp_path) == []
    with Queue(tmp_path, runs) as queue:
        assert waiting(tmp_path) == runs
        queue.ended(runs[1])
        queue.ended(runs[1])
        assert waiting(tmp_path) == [runs[0], runs[2]]
    assert waiting(tmp_path) == []
    assert list((tmp_path / "queue").iterdir()) == []


def test_a_relative_workspace_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = places(Path("."), "a")
    with Queue(Path("."), runs) as queue:
        assert waiting(Path(".")) == runs
        queue.ended(runs[0].resolve())


def test_a_killed_command_waits_for_nothing(tmp_path):
    command = [sys.executable, "-c", WAITS, str(tmp_path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as process:
        assert process.stdout.readline() == b"ready\n"
        assert waiting(tmp_path) == places(tmp_path, "a", "b")
        with Queue(tmp_path, places(tmp_path, "c")):  # one command leaves another's alone
            assert sorted(waiting(tmp_path)) == places(tmp_path, "a", "b", "c")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert waiting(tmp_path) == []
    assert list((tmp_path / "queue").glob("*.json"))
    with Queue(tmp_path, places(tmp_path, "c")):
        assert waiting(tmp_path) == places(tmp_path, "c")
    assert list((tmp_path / "queue").iterdir()) == []


def test_a_foreign_or_torn_file_is_no_queue(tmp_path):
    with Queue(tmp_path, places(tmp_path, "a")) as queue:
        for text in ('{"runs": ["../../etc", 5, "/etc"]}', "[]", "{", '{"runs": 3}'):
            queue.path.write_text(text)
            assert waiting(tmp_path) == []


def test_a_workspace_that_cannot_be_written_costs_no_run(tmp_path):
    (tmp_path / "queue").write_text("a file")
    with Queue(tmp_path, places(tmp_path, "a")) as queue:
        queue.ended(places(tmp_path, "a")[0])
    assert (tmp_path / "queue").read_text() == "a file"


def test_runs_may_lie_on_another_disk(tmp_path):
    """Where ``runs`` of a workspace is a link, a run's folder is none of the workspace's."""
    workspace, other = tmp_path / "workspace", tmp_path / "scratch"
    workspace.mkdir()
    other.mkdir()
    (workspace / "runs").symlink_to(other)
    runs = places(workspace, "a", "b")
    with Queue(workspace, runs) as queue:
        queue.ended(runs[0])
        assert waiting(workspace) == runs[1:]
