"""A finished run is one whose record is valid and matches its files; it has one owner at a time."""

import json
import shutil
import subprocess
import sys
import threading
import time

import pytest
from runs_support import finished_run

from benchbcss.board import model
from benchbcss.results import store
from benchbcss.runs import executors, worker
from benchbcss.runs.executors.local import Local

DAMAGE = {
    "flipped": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
}


def _flipped(data):
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


#: backend -> one file of each kind that a record rests on
DECISIVE = {
    "floor_colour": (
        *("result.json", "spec.json", "training.json", "predictions.json", "files.sha256"),
        *("counts.parquet", "ignored.parquet", "surface.parquet", "objects.parquet"),
        *("rois.parquet", "scores-semantic.parquet", "predictions/semantic/*.png"),
    ),
    "floor_box_fill": (
        *("prompted.parquet", "scores-prompted.parquet", "predictions/prompted/*/*.png"),
    ),
}
#: what nothing rests on once a run is finished
SAID = ("log.txt", "status.json", "failure.json", "submitted.json", "epochs.jsonl")
CASES = [(backend, name) for backend, names in DECISIVE.items() for name in names]


@pytest.fixture(scope="module")
def runs(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workspace")
    return {backend: finished_run(phantom, folder, backend) for backend in DECISIVE}


@pytest.fixture
def done(request, runs):
    return runs[getattr(request, "param", "floor_colour")]


@pytest.fixture
def run(done, tmp_path):
    """A finished run that a test may damage: its workspace, specification and folder."""
    workspace, spec, _ = done
    run_dir = spec.run_dir(tmp_path)
    shutil.copytree(spec.run_dir(workspace), run_dir)
    return tmp_path, spec, run_dir


def numbers(run_dir):
    result = store.load(run_dir).model_dump(mode="json")
    return {key: result[key] for key in ("tracks", "data", "split", "fingerprint", "notes")}


def contents(run_dir):
    files = sorted(run_dir.glob("predictions/**/*.png")) + sorted(run_dir.glob("*.parquet"))
    return {path.relative_to(run_dir): path.read_bytes() for path in files}


def test_it_is_finished_as_it_was_left(run):
    _, _, run_dir = run
    assert store.is_finished(run_dir)
    assert store.damage(run_dir) == []


@pytest.mark.parametrize("done", DECISIVE, indirect=True)
def test_every_kind_of_file_is_damaged_here(run):
    """But for checkpoints, which tests/training/test_kept.py and tests/runs/test_train.py do."""
    _, spec, run_dir = run
    patterns = [*DECISIVE["floor_colour"], *DECISIVE[spec.backend], *SAID, "checkpoints/*"]
    for path in run_dir.rglob("*"):
        name = path.relative_to(run_dir)
        assert path.is_dir() or any(map(name.match, patterns)), name


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize(("done", "name"), CASES, indirect=["done"])
def test_damage_is_seen_and_the_same_command_makes_good(run, monkeypatch, kind, name):
    workspace, spec, run_dir = run
    wanted, files = numbers(run_dir), contents(run_dir)
    path = min(run_dir.glob(name))
    DAMAGE[kind](path)
    assert not store.is_finished(run_dir)
    said = []
    settings = executors.Settings(workspace, said.append)
    assert not executors.finished(spec, settings)
    executors.prepare(spec, settings)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # a worker replaces them
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert worker.main(run_dir) == 0
    assert store.is_finished(run_dir), store.damage(run_dir)
    assert numbers(run_dir) == wanted
    assert contents(run_dir) == files
    if path.name != "result.json" or kind != "deleted":
        assert "made anew" in said[0]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_what_nothing_rests_on_changes_nothing(run, kind):
    workspace, spec, run_dir = run
    wanted = numbers(run_dir)
    for name in SAID:
        path = run_dir / name
        if not path.exists():
            path.write_text('{"stage": "training", "time": 0, "reason": "old"}')
        DAMAGE[kind](path)
    assert store.is_finished(run_dir)
    assert numbers(run_dir) == wanted
    assert [row.backend for row in model.load(workspace).tables[0].rows] == [spec.backend]


def test_a_deleted_checkpoint_takes_nothing_from_a_finished_run(run):
    _, _, run_dir = run
    shutil.rmtree(run_dir / "checkpoints")
    assert store.is_finished(run_dir)


def test_the_record_of_another_run_does_not_count(run):
    _, _, run_dir = run
    path = run_dir / "result.json"
    content = json.loads(path.read_text()) | {"fingerprint": "0" * 64}
    store.save(run_dir, store.RunResult.model_validate(content))
    assert "another run" in store.damage(run_dir)[0]


@pytest.mark.parametrize(
    "wrong",
    [{"tracks": []}, {"created": None}, {"seed": [1]}, {"training": "x"}, {"mpp": float("nan")}],
    ids=str,
)
def test_one_bad_record_hides_no_other(run, wrong):
    workspace, _, run_dir = run
    bad = run_dir.with_name("seed9-bad")
    shutil.copytree(run_dir, bad)
    content = json.loads((bad / "result.json").read_text()) | wrong
    (bad / "result.json").write_text(json.dumps(content))
    board = model.load(workspace)
    assert [row.run for row in board.tables[0].rows] == [run_dir]
    assert len(board.unreadable) == 1
    assert str(bad) in board.unreadable[0]


HOLD = """
import sys, pathlib
from benchbcss.results import store
with store.owned(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held(run):
    """The run's folder, owned by another process."""
    _, _, run_dir = run
    command = [sys.executable, "-c", HOLD, str(run_dir)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_owner_is_named_and_nothing_is_touched(run, held):
    workspace, spec, run_dir = run
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    for fresh in (False, True):
        with pytest.raises(store.Busy, match="worked on by another process"):
            executors.prepare(spec, executors.Settings(workspace, print, fresh=fresh))
    assert worker.main(run_dir) == 75
    executors.failed(spec, run_dir, "told to")
    after = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert after == before


def test_who_only_looks_at_a_run_is_waited_for(tmp_path):
    """``runs list`` asks whether a run's lock is free by taking it."""
    run_dir = tmp_path / "run"

    def look():
        with store.owned(run_dir):
            looking.set()
            time.sleep(0.1)

    looking = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    assert looking.wait(5)
    with store.owned(run_dir, store.A_MOMENT):
        pass
    thread.join()


def test_a_command_waits_for_another_owner(run, held):
    workspace, spec, run_dir = run
    (run_dir / "result.json").rename(run_dir / "kept")
    said = []
    local = Local(executors.Settings(workspace, said.append))
    local.submit([spec])
    for _ in range(3):
        assert local.poll() == []
    assert [line for line in said if "waiting for it" in line] == said
    assert len(said) == 1
    (run_dir / "kept").rename(run_dir / "result.json")
    held.stdin.write("\n")
    held.stdin.flush()
    held.wait(20)
    (outcome,) = local.poll()
    assert outcome.status == "kept"
