"""Training that has ended: what is damaged of it is reached again, with the same weights."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from runs_support import finished_run, specs
from tests_support import TINY_UNETPP, cli

from benchbcss.io import sha256
from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.runs import executors, setup, train, worker
from benchbcss.training.trainer import Trainer
from benchbcss.weights import Provenance

TINY = (*TINY_UNETPP, "train.budget=recipe", "train.steps=6", "train.validation.share=1")


@pytest.fixture(scope="module")
def trained(phantom, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    done = finished_run(phantom, workspace, "unetpp", small=True, overrides=TINY)
    assert store.damage(done[2]) == []
    return done


def pictures(run_dir):
    return {path.name: sha256(path) for path in run_dir.glob("predictions/**/*.png")}


def torn(path):
    content = path.read_bytes()
    path.write_bytes(content[: min(1000, len(content) // 2)])


def emptied(path):
    path.write_bytes(b"")


def deleted(path):
    path.unlink()


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (torn, ["checkpoints/final.safetensors"]),
        (flipped, ["training.json"]),
        *((harm, ["epochs.jsonl"]) for harm in (flipped, torn, deleted, emptied)),
        # what the product once advised, and what recorded random weights as trained
        (deleted, ["result.json", "checkpoints/final.safetensors"]),
        # nothing is left to go on from but the state of training, without its best weights
        (
            deleted,
            [
                "result.json",
                "training.json",
                "checkpoints/final.safetensors",
                "checkpoints/best.safetensors",
            ],
        ),
    ],
    ids=[
        *("final torn", "summary flipped"),
        *(f"log {harm}" for harm in ("flipped", "torn", "deleted", "emptied")),
        *("final deleted", "best deleted"),
    ],
)
def test_the_same_predictions_are_made_again(trained, monkeypatch, damage, names):
    workspace, spec, run_dir = trained
    wanted, scores = pictures(run_dir), store.load(run_dir).tracks
    log = (run_dir / "epochs.jsonl").read_bytes()
    assert wanted
    for name in names:
        damage(run_dir / name)
    assert not store.is_finished(run_dir)
    executors.prepare(spec, executors.Settings(workspace, lambda text: None))
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # a worker replaces them
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert worker.main(run_dir) == 0
    assert store.is_finished(run_dir)
    assert train.is_done(run_dir)
    assert pictures(run_dir) == wanted
    assert store.load(run_dir).tracks == scores
    if names == ["epochs.jsonl"]:
        assert (run_dir / "epochs.jsonl").read_bytes() == log
    lines = (run_dir / "epochs.jsonl").read_text().splitlines()
    assert len(lines) == store.load(run_dir).training.model_extra["epochs"]


def test_training_goes_on_where_it_was_interrupted_and_says_so(
    trained, tmp_path, monkeypatch, capsys, phantom
):
    """Told, counted and drawn or not, the same predictions are made."""
    (spec,) = specs(phantom, tmp_path, ["unetpp"], small=True, overrides=TINY)
    run_dir = executors.prepare(spec, executors.Settings(tmp_path, lambda text: None))
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)
    tell, epochs = train._tell, []

    def interrupt(job, record, *more):
        tell(job, record, *more)
        epochs.append(record["step"])
        if len(epochs) == 2:
            raise RuntimeError("a kill")

    monkeypatch.setattr(train, "_tell", interrupt)
    assert worker.main(run_dir) == 1
    assert "note: continuing" not in capsys.readouterr().out
    found = Provenance(source="pretrained: owner/name")  # by now, and too late
    monkeypatch.setattr(setup, "settle", lambda *args, **options: found)
    assert worker.main(run_dir) == 0
    assert store.load(run_dir).weights == store.load(trained[2]).weights
    said = capsys.readouterr().out
    assert f"note: continuing at step {epochs[0]} of 6\n" in said
    assert re.search(r"^validation Dice: tumor \d\.\d{4}, stroma \d", said, re.M)  # per class
    assert pictures(run_dir) == pictures(trained[2])


def test_prediction_goes_on_where_it_was_interrupted(trained, monkeypatch, capsys):
    """Only the picture that is gone is made again, and the record's counts stay."""
    workspace, spec, run_dir = trained
    wanted, before = pictures(run_dir), store.load(run_dir)
    victim, *others = sorted(run_dir.glob("predictions/**/*.png"))
    stamps = {path: path.stat().st_mtime_ns for path in others}
    victim.unlink()
    executors.prepare(spec, executors.Settings(workspace, lambda text: None))
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert worker.main(run_dir) == 0
    assert f"note: continuing with 1 of {len(spec.scored)} ROIs of the " in capsys.readouterr().out
    assert pictures(run_dir) == wanted
    assert {path: path.stat().st_mtime_ns for path in others} == stamps
    assert store.load(run_dir).notes == before.notes


def test_a_batch_too_small_to_be_normalised_over_says_what_to_change(tmp_path):
    """One training ROI and tiles of 32 px: the deepest BatchNorm sees one value per channel."""
    rng = np.random.default_rng(0)
    for folder, shape in (("images", (32, 32, 3)), ("masks", (32, 32))):
        (tmp_path / "d" / folder).mkdir(parents=True)
        for index in range(2):
            array = rng.integers(0, 2, shape, dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / "d" / folder / f"{index}.png")
    (tmp_path / "d" / "splits.csv").write_text("filename,split\n0.png,train\n1.png,test\n")
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "label_map: {codes: {rest: 0, gland: 1}, classes: {rest: [rest], gland: [gland]}}\n"
        "split: splits.csv\ntile: {size: 32, overlap: 8}\ntracks: [semantic]\n"
        "budget: {steps: 2}\ndefault_preset: smoke\n"
    )
    words = ["run", "unetpp", "--suite", suite, "--data", tmp_path / "d", "--no-floors"]
    done = cli(*words, "--workspace", tmp_path / "w", check=1)
    assert "normalises over the batch" in done.stderr
    assert "Use larger tiles (the suite's tile.size)" in done.stderr


def test_images_of_every_micro_batch_count(phantom, tmp_path):
    """They give the images per second of the record."""
    settings = ("train.batch_size=2", "train.accumulate=2")
    _, _, run_dir = finished_run(
        phantom, tmp_path, "unetpp", small=True, overrides=(*TINY, *settings)
    )
    result = store.load(run_dir)
    loop = result.training.model_extra
    assert (result.training.steps, loop["images"]) == (6, 24)
    assert result.training.validation.passes["training"] == 3 * 24
    assert result.cost.train_images_per_second == pytest.approx(24 / loop["loop_seconds"])


@pytest.mark.parametrize(("fitted", "looped"), [(True, []), (False, ["loop"])])
def test_no_process_waits_in_a_loop_that_the_first_does_not_enter(monkeypatch, fitted, looped):
    """Where a backend with a recipe to train by has a ``fit`` of its own, which the first process
    alone calls: the others hear of it."""
    some = SimpleNamespace
    suite = some(tile=some(size=32))
    split = some(train=(), val=())
    settings = some(augment=(), rare_class_probability=0.0, scales=(), views=None)
    spec = some(recipe=some(train=settings), suite=suite, split=split, seed=0, evaluate=None)
    info = some(trains=True)
    job = some(spec=spec, rois={}, labels=None, view=None, registered=some(info=info))
    job.accelerator = some(is_main_process=False)
    job.context = some(peak_gpu_bytes=None)
    entered = []
    monkeypatch.setattr(train, "of_first", lambda accelerator, value: fitted)
    monkeypatch.setattr(train, "_loop", lambda *given: entered.append("loop") or {})
    train._train(job, SILENT, {})
    assert entered == looped
