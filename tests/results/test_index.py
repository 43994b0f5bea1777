"""A board that reads at a glance is the board that reads every record, whatever happened to the
workspace in between."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from board_support import result, write
from hypothesis import given, settings
from hypothesis import strategies as st

import benchbcss as bb
from benchbcss import memo
from benchbcss.board import cells, model
from benchbcss.board.check import unmet
from benchbcss.board.exporters import terminal
from benchbcss.errors import UnknownNameError
from benchbcss.results import index, judge, provenance, store
from benchbcss.results.migrate import lift
from benchbcss.results.schema import RunResult
from benchbcss.weights import hub

TRACKS = ["semantic", "prompted"]


@pytest.fixture(scope="module", autouse=True)
def settled():
    """As if every file had been left alone for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memo, "_RACE", -1.0)
        yield


def fill(workspace):
    for number, backend in enumerate(["one", "two", "three", "floor_box"]):
        over = {"floor": backend.startswith("floor"), "recipe": {"lr": 1e-4 * number}}
        track = TRACKS[number % 2]
        write(workspace, result(backend, 0.3 + number / 10, track, **over))
    write(workspace, result("one", 0.7, seed=1), "seed1-x")


def record(workspace, backend="one"):
    return workspace / "runs" / "bcss5" / backend / "seed0-x" / "result.json"


def shown(workspace, glance, **options):
    board = model.load(workspace, glance=glance, **options)
    stream = io.StringIO()
    terminal.table(board, stream)
    states = [[run.state, run.run] for run in board.unfinished]
    return stream.getvalue(), unmet(board), board.unreadable, states


def assert_alike(workspace, **options):
    """Twice, since the second look has what the first has kept."""
    plain = shown(workspace, False, **options)
    assert shown(workspace, True, **options) == plain
    assert shown(workspace, True, **options) == plain


@pytest.fixture
def reads(monkeypatch):
    """Folders of the records that were read."""
    names, real = [], store.read
    monkeypatch.setattr(store, "read", lambda path: names.append(path.parent.name) or real(path))
    return names


@pytest.fixture
def workspace(tmp_path):
    fill(tmp_path)
    shown(tmp_path, True)
    return tmp_path


def rewrite(workspace, mean=0.9):
    """In place, of the same size, with the old times: only the time of the last change tells."""
    path = record(workspace)
    if path.is_file():
        status, text = path.stat(), path.read_text()
        time.sleep(0.01)
        path.write_text(text.replace('"mean": 0.3', f'"mean": {mean}'))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(workspace):
    path = record(workspace, "two")
    if path.is_file():
        other = path.with_name(".other")
        other.write_text(path.read_text().replace('"mean": 0.4', '"mean": 0.1'))
        shutil.copystat(path, other)
        os.replace(other, path)


def touch(workspace):
    path = record(workspace)
    if path.is_file():
        os.utime(path)


def spoil(workspace):
    path = record(workspace, "three")
    if path.is_file():
        path.write_text(path.read_text().replace('"mean": 0.5', '"mean": 1.5'))


def tear(workspace):
    path = record(workspace, "two")
    if path.is_file():
        path.write_bytes(path.read_bytes()[:-40])


def delete(workspace):
    shutil.rmtree(record(workspace, "two").parent, ignore_errors=True)


def lose(workspace):
    """The record goes, the run is at work again."""
    path = record(workspace, "three")
    if path.is_file():
        path.unlink()
        (path.parent / "status.json").write_text(json.dumps({"time": 1.0, "stage": "training"}))


def add(workspace):
    shutil.rmtree(workspace / "runs" / "bcss5" / "four", ignore_errors=True)
    write(workspace, result("four", 0.65), "seed0-x")


def rename(workspace):
    folder = record(workspace).parent
    if folder.is_dir():
        shutil.rmtree(folder.with_name("seed0-y"), ignore_errors=True)
        folder.rename(folder.with_name("seed0-y"))


def endless(workspace):
    """A number that JSON does not have comes back from no index."""
    text = json.dumps(result("five", 0.5, recipe={"lr": float("nan")}))
    path = record(workspace, "five")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def alter_index(workspace):
    path = workspace / index.FILE
    if path.is_file():
        path.write_bytes(path.read_bytes().replace(b"0.7", b"0.2"))


def tear_index(workspace):
    path = workspace / index.FILE
    if path.is_file():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def older_index(workspace):
    path = workspace / index.FILE
    if path.is_file():
        runs = {name: None for name in memo.read(path).get("runs", {})}
        memo.write(path, {"made_by": "an older edition", "runs": runs, "shape": 1, "shared": 2})


def no_index(workspace):
    path = workspace / index.FILE
    if path.is_file():
        path.unlink()


def no_place(workspace):
    """Where nothing can be written, as in a read-only workspace."""
    no_index(workspace)
    (workspace / index.FILE).mkdir(exist_ok=True)


CHANGES = [rewrite, replace, touch, spoil, tear, delete, lose, add, rename, endless]
CHANGES += [alter_index, tear_index, older_index, no_index, no_place]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change(workspace, change):
    change(workspace)
    assert_alike(workspace)


@settings(max_examples=15, deadline=None, database=None)
@given(st.lists(st.sampled_from(CHANGES), min_size=2, max_size=6))
def test_any_changes_one_after_another(changes):
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        fill(workspace)
        shown(workspace, True)
        for change in changes:
            change(workspace)
            assert shown(workspace, True) == shown(workspace, False)


def test_records_are_read_once(workspace, reads):
    shown(workspace, True)
    assert reads == []
    touch(workspace)
    shown(workspace, True)
    assert reads == ["one"]
    shown(workspace, True)
    assert reads == ["one"]


def test_a_record_that_was_just_written_is_read_again(workspace, reads, monkeypatch):
    monkeypatch.setattr(memo, "_RACE", 60.0)
    touch(workspace)
    shown(workspace, True)
    shown(workspace, True)
    assert reads == ["one", "one"]


def test_other_code_that_reads_records_reads_them_anew(workspace, reads, monkeypatch):
    monkeypatch.setattr(provenance, "records_digest", lambda: "another")
    shown(workspace, True)
    assert len(reads) == 5


def test_a_suite_or_seed_alone(workspace, reads):
    write(workspace, result("one", 0.6, suite={"name": "other", "fingerprint": "f" * 64}))
    for options in ({"suite": "other"}, {"suite": "bcss5"}, {"seed": 1}, {"track": "prompted"}):
        assert_alike(workspace, **options)
    for name in ("", ".", "..", "../runs/bcss5", "bcss5/one"):
        assert_alike(workspace, suite=name)
    reads.clear()
    shown(workspace, True)
    assert reads == []  # a board of one suite has kept what is known of the others


def test_what_is_gone_is_not_kept(workspace):
    add(workspace)
    delete(workspace)
    shown(workspace, True)
    assert "bcss5/two/seed0-x" not in memo.read(workspace / index.FILE)["runs"]


def test_a_suite_whose_criteria_ask_for_more_than_is_kept(tmp_path):
    criteria = [{"metric": "iou.tumor", "at_least": 0.3}, {"metric": "dice.tumor", "at_least": 0.2}]
    for backend, iou in (("a", 0.15), ("b", 0.5)):
        content = result(backend, 0.5, schema_version=3)
        content["suite"] = {**content["suite"], "name": "mine", "criteria": criteria}
        track = content["tracks"]["semantic"]
        track["all_classes"] = track["classes"]
        track["per_class"] = {"per_roi": {"iou": {"tumor": iou}}}
        used = {"label": "IoU", "direction": "higher", "plugin": "plugin 'core' of benchbcss 1"}
        intervals = {"per_roi": {"tumor": [iou - 0.125, iou + 0.125]}}
        track["metrics"] = {"iou": {**used, "intervals": intervals}}
        write(tmp_path, content)
    assert_alike(tmp_path)
    assert any("iou.tumor >= 0.3: fail" in text for text in unmet(model.load(tmp_path), ["a"]))


def test_a_second_look_imports_no_pydantic(tmp_path):
    """Also where the suite's file has criteria, which are those of the records."""
    content = result("one", 0.5)
    criteria = judge.criteria_of(RunResult.model_validate(lift(content)).suite, "full")
    content = {**content, "schema_version": 3}
    content["suite"]["criteria"] = [criterion.model_dump() for criterion in criteria]
    content["tracks"]["semantic"]["all_classes"] = content["tracks"]["semantic"]["classes"]
    write(tmp_path, content)
    shown(tmp_path, True)
    code = (
        "import sys\n"
        "from benchbcss.cli.main import cli\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    for command in ("leaderboard", "status"):
        words = [command, "--workspace", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", command


def test_how_to_complete_is_said_as_where_it_is_needed():
    assert hub.OF_CLIP.endswith(cells.COMPLETE)


# -- the suite that is asked for -------------------------------------------------------------------


def test_a_suite_is_named_as_for_run(tmp_path):
    assert index.suite_with_runs(tmp_path, "nothing") == "nothing"  # there are no results at all
    write(tmp_path, result("one", 0.5))
    (tmp_path / "mine.yaml").write_text("name: bcss5\n")
    (tmp_path / "bcss5.yml").write_text("summary: named by its file\n")
    for wanted in ("bcss5", str(tmp_path / "mine.yaml"), str(tmp_path / "bcss5.yml"), None):
        assert index.suite_with_runs(tmp_path, wanted) == (wanted and "bcss5")


@pytest.mark.parametrize("wanted", ["bcss", "bcss5.yam", "gone.yaml"])
def test_a_suite_without_runs_is_not_an_empty_board(tmp_path, wanted):
    """'No results yet' is not true of a workspace that has some."""
    write(tmp_path, result("one", 0.5))
    with pytest.raises(UnknownNameError, match=r"no suite with runs .* Known: bcss5"):
        bb.leaderboard(suite=wanted, workspace=tmp_path)
    with pytest.raises(UnknownNameError, match=r"no suite with runs .* Known: bcss5"):
        bb.compare("one", "two", suite=wanted, workspace=tmp_path)
