"""``benchbcss runs clean``: nothing goes that a result, or a run that can go on, rests on."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from runs_support import finished_run
from tests_support import cli

from benchbcss import io
from benchbcss.board import model
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError
from benchbcss.results import evaluate, store
from benchbcss.upkeep import clean

LONG_AGO = time.time() - 7200


def age(*paths):
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture(scope="module")
def finished(phantom, tmp_path_factory):
    """A finished run of a floor, with checkpoints as training leaves them."""
    workspace = tmp_path_factory.mktemp("finished") / "w"
    _, _, run = finished_run(phantom, workspace, "floor_majority")
    for name in ("last", "previous", "best", "best-4"):
        io.write_bytes(run / "checkpoints" / f"{name}.safetensors", name.encode() * 100)
    return workspace, run


@pytest.fixture
def workspace(finished, tmp_path):
    """(workspace, run) of its own."""
    shutil.copytree(finished[0], tmp_path / "w")
    return tmp_path / "w", tmp_path / "w" / finished[1].relative_to(finished[0])


def kinds(items):
    found = {}
    for item in items:
        found.setdefault(item.kind, set()).add(item.path.name)
    return found


def content(folder, apart=()):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path not in apart
    }


def unfinished(run, seed, **files):
    """A run's folder beside ``run``, without a result; its specification is of another ``seed``."""
    folder = run.with_name(f"seed{seed}-0123456789ab")
    folder.mkdir()
    spec = json.loads((run / "spec.json").read_text()) | {"seed": seed}
    files = {"spec": json.dumps(spec), **files}
    for name, text in files.items():
        (folder / f"{name}.json").write_text(text)
    age(*folder.iterdir(), folder)
    return folder


def test_superseded_checkpoints_go_and_every_result_stays(workspace):
    root, run = workspace
    names = {"last.safetensors", "previous.safetensors", "best.safetensors", "best-4.safetensors"}
    items = clean.look(root)
    assert kinds(items) == {"checkpoints": names}
    assert sum(item.bytes for item in items) == 100 * len("lastpreviousbestbest-4")
    before = content(root, [item.path for item in items])
    gone, problems = clean.remove_all(items)
    assert (len(gone), problems) == (4, [])
    assert {k: v for k, v in content(root).items() if k.suffix != ".lock"} == {
        k: v for k, v in before.items() if k.suffix != ".lock"
    }
    assert store.is_finished(run)
    assert evaluate.rescore(run).tracks == store.load(run).tracks
    assert clean.look(root) == []


def test_without_the_scored_weights_every_checkpoint_stays(workspace):
    root, run = workspace
    with open(run / "checkpoints" / "final.safetensors", "ab") as handle:
        handle.write(b"damage")
    assert clean.look(root) == []
    (run / "checkpoints" / "final.safetensors").unlink()
    assert clean.look(root) == []


def test_a_run_that_can_go_on_keeps_everything(workspace):
    root, run = workspace
    stopped = unfinished(run, 1)
    failed = unfinished(run, 2, failure='{"reason": "killed"}')
    for folder in (stopped, failed):
        (folder / "checkpoints").mkdir()
        for name in ("last", "best", "final"):
            (folder / "checkpoints" / f"{name}.safetensors").write_text("x")
    items = clean.look(root)
    assert {item.run for item in items} == {run}
    clean.remove_all(items)
    assert len(list((stopped / "checkpoints").iterdir())) == 3


def test_what_a_later_result_replaced_goes(workspace):
    root, run = workspace
    failed = unfinished(run, 0, failure='{"reason": "killed"}')
    assert kinds(clean.look(root))["replaced"] == {failed.name}
    assert [f.run for f in model.load(root).failures] == []
    clean.remove_all(clean.look(root))
    assert not failed.exists()
    assert run.exists()


def test_torn_folders_go_but_no_record_whatever_its_state(workspace):
    root, run = workspace
    torn = unfinished(run, 3, spec='{"suite": ')
    aside = run.with_name(f".{run.name}.old1")
    aside.mkdir()
    (aside / "spec.json").write_text("{}")
    removing = run.with_name(".x.removing123")
    removing.mkdir()
    unreadable = unfinished(run, 4, spec="{}", result='{"half": ')
    set_aside_result = run.with_name(f".{run.name}.old2")
    shutil.copytree(run, set_aside_result)
    young = unfinished(run, 5, spec="")
    age(aside, removing)
    os.utime(young)
    strangers = run.with_name("notes")
    strangers.mkdir()
    (strangers / "mine.txt").write_text("kept")
    found = kinds(clean.look(root))
    assert found["torn"] == {torn.name, aside.name, removing.name}
    clean.remove_all(clean.look(root))
    for kept in (run, unreadable, set_aside_result, young, strangers):
        assert kept.is_dir(), kept
    assert (set_aside_result / "result.json").is_file()
    for gone in (torn, aside, removing):
        assert not gone.exists(), gone


def test_a_running_run_is_left_alone(workspace):
    """Its owner's lock is taken before anything is touched."""
    root, run = workspace
    torn = unfinished(run, 3, spec="{")
    items = clean.look(root)
    code = (
        "import sys, filelock\n"
        "held = [filelock.FileLock(name) for name in sys.argv[1:]]\n"
        "for lock in held: lock.acquire()\n"
        "print(flush=True)\n"
        "input()"
    )
    locks = [str(store.lock_file(run)), str(store.lock_file(torn))]
    worker = subprocess.Popen(
        [sys.executable, "-c", code, *locks], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    worker.stdout.readline()
    try:
        gone, problems = clean.remove_all(items)
        assert gone == []
        assert len(problems) == len(items) == 5
        assert all("worked on by another" in text or "is running" in text for text in problems)
        assert kinds(clean.look(root)).keys() == {"checkpoints"}  # torn, but at work
    finally:
        worker.kill()
        worker.wait()
    assert (run / "checkpoints" / "last.safetensors").is_file()
    gone, problems = clean.remove_all(items)
    assert (len(gone), problems) == (5, [])


def test_a_result_that_came_meanwhile_is_kept(workspace):
    root, run = workspace
    torn = unfinished(run, 3, spec="{")
    (item,) = [item for item in clean.look(root) if item.kind == "torn"]
    shutil.copy(run / "result.json", torn)
    with pytest.raises(BenchError, match="has a result by now; it is kept"):
        clean.remove(item)
    assert torn.is_dir()


def test_decoded_images_of_files_that_are_there_stay(workspace, phantom, tmp_path):
    root, _ = workspace
    before = {path.name for path in (root / "store").iterdir()}
    assert "store" not in kinds(clean.look(root))
    image = next((phantom / "images").iterdir())
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(image, other / "same.png")
    mask = next((phantom / "masks").iterdir())
    (other / "new.png").write_bytes(mask.read_bytes() + b"\n")  # another content
    tiles = TileStore(root / "store")
    same, new = tiles.entry(other / "same.png", "image"), tiles.entry(other / "new.png", "mask")
    age(*(root / "store").iterdir())
    found = kinds(clean.look(root))["store"]
    assert new.array.name in found
    assert same.array.name not in found  # a file of the run's data has that content
    assert kinds(clean.look(root, [other])).keys() == {"checkpoints"}
    os.utime(other / "new.png")  # changed: what was remembered of it is of no use
    assert "store" in kinds(clean.look(root, [other]))
    clean.remove_all(clean.look(root))
    assert before <= {path.name for path in (root / "store").iterdir()}
    assert not new.array.exists()
    assert same.array.exists()


def test_data_that_is_gone_is_named(workspace, tmp_path):
    root, run = workspace
    spec = json.loads((run / "spec.json").read_text())
    spec["data_root"] = str(tmp_path / "unplugged")
    (run / "spec.json").write_text(json.dumps(spec))
    age(*(root / "store").iterdir())
    items = [item for item in clean.look(root) if item.kind == "store"]
    assert items
    assert f"({tmp_path / 'unplugged'} is missing)" in items[0].why


def test_leftovers_go_when_they_are_old(workspace):
    root, run = workspace
    leftovers = [
        run / f".{'a' * 16}.12.tmp",
        run / "predictions" / f".{'b' * 16}.12.tmp",
        root / "store" / f"{'c' * 64}-image.12.tmp",
        root / "store" / f".{'d' * 16}.12.tmp",
        root / ".score-abc" / "x.png",
        run.with_name(".seed9-gone.lock"),
        run.with_name(".seed9-gone.memo"),
    ]
    (root / ".score-abc").mkdir()
    beside = [run.with_name(f".{run.name}{end}") for end in (".lock", ".memo")]
    for path in [*leftovers, *beside]:
        path.write_text("half")
    age(*beside)  # those of a run that is there stay
    assert "temporary" not in kinds(clean.look(root))
    age(*leftovers, root / ".score-abc")
    names = {path.name for path in leftovers} - {"x.png"} | {".score-abc"}
    items = clean.look(root)
    assert kinds(items)["temporary"] == names
    assert clean.remove_all(items)[1] == []
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in beside)
    assert store.is_finished(run)


def test_links_are_not_followed(workspace, tmp_path):
    root, run = workspace
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "last.safetensors").write_text("precious")
    (run / "checkpoints" / "linked.safetensors").symlink_to(elsewhere / "last.safetensors")
    (run.with_name(".y.removing1")).symlink_to(elsewhere)
    (root / ".score-link").symlink_to(elsewhere)
    clean.remove_all(clean.look(root))
    assert (elsewhere / "last.safetensors").read_text() == "precious"


def test_the_command(workspace):
    root, run = workspace
    done = cli("runs", "clean", "--workspace", root, check=0)
    assert "checkpoints of finished runs, but for the weights that were scored: 4," in done.stdout
    assert "Nothing is removed. Pass --yes to remove 4 items of 0.0 MB." in done.stderr
    assert (run / "checkpoints" / "last.safetensors").is_file()
    shown = cli("runs", "clean", "--workspace", root, "--format", "json", check=0)
    found = json.loads(shown.stdout)
    assert {item["kind"] for item in found["items"]} == {"checkpoints"}
    assert found["bytes"] == sum(item["bytes"] for item in found["items"])
    other = cli("runs", "clean", "--workspace", root, "--only", "torn", "--yes", check=0)
    assert "nothing to clean" in other.stdout
    done = cli("runs", "clean", "--workspace", root, "--yes", check=0)
    assert "removed 4 of 4" in done.stderr
    assert store.is_finished(run)
    assert not (run / "checkpoints" / "last.safetensors").exists()
    empty = cli("runs", "clean", "--workspace", root / "nowhere", check=0)
    assert "nothing to clean" in empty.stdout
    assert not (root / "nowhere").exists()


def test_the_commands_kinds_are_those_of_the_module():
    from benchbcss.cli.runs import clean as command

    (only,) = [option for option in command.params if option.name == "kinds"]
    assert list(only.type.choices) == list(clean.KINDS)
    for kind in clean.KINDS:
        assert kind in command.help
