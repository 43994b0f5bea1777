"""Validation in a worker: by a part of the set, and with prediction by several processes."""

import json
import subprocess
import sys
import textwrap

import pytest
from runs_support import specs
from tests_support import TINY_UNETPP

from benchbcss.io import sha256, write_json
from benchbcss.results import store
from benchbcss.runs import executors, train, validation, worker
from benchbcss.runs.setup import setup
from benchbcss.tracks import get
from benchbcss.training import validation as rules

#: of 4 ROIs of 9 tiles each, one fits every second of 20 epochs, and 2 checkpoints on all of them
TINY = (
    *(*TINY_UNETPP, "train.budget=recipe", "train.steps=20", "train.validate_every=1"),
    *("train.validation.share=0.6", "train.validation.best=2"),
)


@pytest.fixture(scope="module")
def split(phantom, tmp_path_factory):
    """Three ROIs to train on and four to validate."""
    path = tmp_path_factory.mktemp("split") / "own.csv"
    names = sorted(file.name for file in (phantom / "images").iterdir())
    parts = dict(zip(names, ["train"] * 3 + ["val"] * 4 + ["test"], strict=True))
    path.write_text("filename,split\n" + "".join(f"{k},{v}\n" for k, v in parts.items()))
    return path


def specified(phantom, split, workspace, **options):
    options = {"overrides": TINY, "small": True, "split": str(split), **options}
    (spec,) = specs(phantom, workspace, ["unetpp"], **options)
    return spec


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(rules, "FEWEST_ROIS", 1)


def pictures(run_dir):
    return {path.name: sha256(path) for path in run_dir.glob("predictions/**/*.png")}


def told(run_dir):
    """What the record says of the training, but for the clock."""
    content = json.loads((run_dir / "result.json").read_text())
    for name in ("seconds", "loop_seconds"):
        content["training"].pop(name)
    return content["training"], content["stability"]


def test_a_part_of_the_set_is_validated_and_the_whole_set_chooses(
    phantom, split, tmp_path, monkeypatch, small_parts, capsys
):
    """And a kill while it does changes nothing."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # a worker replaces them
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    asked, runs = [], {}
    validate = train.validate

    def watched(job, model, names, *more, **options):
        asked.append(tuple(names))
        if asked.count(job.spec.split.val) == kill_at:
            raise RuntimeError("a kill")
        return validate(job, model, names, *more, **options)

    monkeypatch.setattr(train, "validate", watched)
    for place, kill_at in (("whole", None), ("torn", 2)):
        asked.clear()
        spec = specified(phantom, split, tmp_path / place)
        settings = executors.Settings(tmp_path / place, lambda text: None)
        run_dir = runs[place] = executors.prepare(spec, settings)
        if kill_at is not None:
            assert worker.main(run_dir) == 1
        assert worker.main(run_dir) == 0
        part = asked[0]
        assert asked == [part] * 11 + [spec.split.val] * (2 if kill_at is None else 3)
    assert told(runs["torn"]) == told(runs["whole"])
    assert pictures(runs["torn"]) == pictures(runs["whole"])
    said = (
        "note: validation: 1 of 4 ROIs every 2 epochs while training (59 % of compute), all of them"
    )
    assert f"{said} for the best 2\n" in capsys.readouterr().out

    training = store.load(runs["whole"]).training
    used = training.validation
    assert (used.rois, used.of, used.every, len(used.whole)) == (list(part), 4, 2, 2)
    assert used.passes == {"training": 3 * 2 * 20, "validation": 11 * 9 + 2 * 36}
    assert used.share == used.share_planned == pytest.approx(171 / 291)
    chosen = max(used.whole, key=lambda entry: entry.monitored)
    assert training.best_mean_dice == training.best_validation == chosen.mean_dice
    assert training.model_extra["best_step"] == chosen.step
    stability = store.load(runs["whole"]).stability
    job = setup(spec, tmp_path)
    rois = [job.rois[name] for name in part]
    floor, _ = get("semantic").floor(rois, job.labels, job.context.class_pixels)
    assert stability.evidence["floor"]["value"] == floor
    assert stability.evidence["start"] == training.model_extra["start"]["val_mean_dice"]
    assert stability.evidence["epochs"] == list(range(2, 21, 2))


def test_the_part_is_drawn_with_the_seed(phantom, split, tmp_path, small_parts):
    job = setup(specified(phantom, split, tmp_path), tmp_path)
    made = validation.schedules(job, range(12))
    parts = {schedule["rois"] for schedule in made.values()}
    assert len(parts) > 1
    every = set().union(*(validation._classes(job, name) for name in job.spec.split.val))
    for part in parts:
        assert set().union(*(validation._classes(job, name) for name in part)) == every
    assert made == validation.schedules(job, range(12))


SCRIPT = """
import json
import sys
from pathlib import Path

import torch

from benchbcss.errors import NonFiniteError, PluginError
from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.results.spec import RunSpec
from benchbcss.runs.predict import assist
from benchbcss.runs.predict import predict as predict_all
from benchbcss.runs.setup import setup
from benchbcss.runs.validation import validate
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer

torch.set_num_threads(1)
run_dir = Path(sys.argv[1])
spec = store.parsed(RunSpec, (run_dir / "spec.json").read_bytes())
job = setup(spec, run_dir)
rank, names = job.accelerator.process_index, spec.split.val
assert job.accelerator.num_processes == 2
alone = validate(job, job.model, names, alone=True)
assert alone.mean > 0
assert validate(job, job.model, names) == alone
assert validate(job, job.model, names[:1]) == validate(job, job.model, names[:1], alone=True)

# As after a step: each process has statistics of its own share of the batch.
for buffer in job.model.buffers():
    if rank and buffer.is_floating_point():
        buffer.add_(1.0)
assert validate(job, job.model, names) != alone
settings = spec.recipe.train
steps = plan(settings, spec.suite.budget, 4)
trainer = Trainer(job.backend, job.model, settings, steps, job.accelerator, run_dir, seed=0)
trainer.unify()
assert validate(job, job.model, names) == alone

predict = job.backend.predict
for trouble, expected, text in (
    (lambda model, image: predict(model, image) / 0, NonFiniteError, "NaN or infinite"),
    (lambda model, image: predict(model, image)[:, :1], PluginError, "returned shape"),
    (lambda model, image: 1 / 0, PluginError, "ZeroDivisionError"),
):
    if rank:
        job.backend.predict = trouble
    try:
        validate(job, job.model, names)
    except PluginError as error:
        assert isinstance(error, NonFiniteError) == (expected is NonFiniteError), error
        assert text in str(error), error
    else:
        raise AssertionError("the trouble of one process did not reach the other")
    job.backend.predict = predict
assert validate(job, job.model, names) == alone  # and they are still in step

# Prediction: four ROIs in two rounds, and then one in a round of its own.
(track,) = [track for track in job.tracks if track.name == "semantic"]
job.spec, job.tracks = spec.model_copy(update={"evaluate": "val"}), [track]
loaded = []


def together():
    if rank:
        assist(job, lambda: loaded.append(1))
    else:
        predict_all(job, SILENT)


def made():
    return {name: (track.folder(run_dir) / name).read_bytes() for name in names}


together()
assert loaded == [1] * rank
if not rank:
    predictor = job.predictor(job.model)
    wanted = {
        name: track.picture(array)
        for name in names
        for _, array in track.predict(predictor, job.rois[name], job.frame)
    }
    assert made() == wanted
    index = json.loads((run_dir / "predictions.json").read_text())["semantic"]
    assert list(index) == list(names)
    (track.folder(run_dir) / names[2]).unlink()
together()
assert rank or made() == wanted

torch.distributed.barrier()
if not rank:
    for name in names:
        (track.folder(run_dir) / name).unlink()
else:
    job.backend.predict = lambda model, image: 1 / 0
try:
    together()
except PluginError as error:
    assert "ZeroDivisionError" in str(error) and names[1] in str(error), error
else:
    raise AssertionError("the trouble of one process did not reach the other")
"""


@pytest.mark.slow
def test_two_processes_validate_and_predict_together(phantom, split, tmp_path):
    overrides = (*TINY_UNETPP, "train.batch_size=2")
    spec = specified(phantom, split, tmp_path / "w", overrides=overrides, processes=2)
    write_json(tmp_path / "spec.json", spec.model_dump(mode="json"))
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += ["--master_port=0", "--rdzv_endpoint=localhost:0", "--rdzv_backend=c10d"]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
