"""nnU-Net v2 as a backend: what it is given and, where it is installed, that it trains, resumes and
predicts with it."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from benchbcss import registry
from benchbcss.contract import Context, Task
from benchbcss.errors import PluginError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Weights

pytest.importorskip("benchbcss_nnunet", reason="the plugin nnunet is not on the path")

from benchbcss_nnunet import process
from benchbcss_nnunet.backend import NnUnet
from benchbcss_nnunet.export import DATASET, export, labels
from benchbcss_nnunet.work import BEST, FINAL, LATEST, _whole

TASK = Task(("tumor", "stroma", "other"), (0, 1), 0.3, 64)
real = pytest.mark.skipif(
    importlib.util.find_spec("nnunetv2") is None,
    reason="nnunetv2 is not installed: pip install 'benchbcss[nnunet]'",
)


def made(weights="none", evaluating=False, **overrides):
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve("benchbcss_nnunet:nnunet.yaml", "smoke", sets)
    context = Context(0, torch.device("cpu"), Weights.parse(str(weights)), False, [1] * 3)
    context.evaluating = evaluating
    return NnUnet(TASK, recipe.model_dump(), context)


class Rois:
    """Two colours to tell apart, the right half of each ROI ignored."""

    def __init__(self, training=3, validation=1):
        self.counts = training, validation

    def rois(self):
        yield from self._some("train", self.counts[0])

    def validation_rois(self):
        yield from self._some("val", self.counts[1])

    @staticmethod
    def _some(part, count):
        for number in range(count):
            rng = np.random.default_rng(number)
            target = np.repeat(np.repeat(rng.integers(0, 3, (6, 6)), 8, 0), 8, 1).astype(np.uint8)
            image = np.stack([target * 100, 200 - target * 60, np.full_like(target, 90)], -1)
            target[:, 40:] = 255
            yield f"{part} roi/{number}.png", image.astype(np.uint8), target


def test_the_class_outside_the_mean_is_background_and_ignored_is_the_highest_label():
    assert labels(TASK) == ({"background": 0, "tumor": 1, "stroma": 2, "ignore": 3}, [1, 2, 0])
    every = Task(("tumor", "stroma"), (0, 1), 0.3, 64)
    assert labels(every) == ({"background": 0, "tumor": 1, "stroma": 2, "ignore": 3}, [1, 2])
    more = Task(("a", "b", "c", "d"), (1, 3), 0.3, 64)  # two outside: neither is the background
    assert labels(more)[1] == [1, 2, 3, 4]


def test_the_split_is_exported_in_nnunets_raw_format(tmp_path):
    data = Rois()
    export(tmp_path, TASK, ["R", "G", "B"], data.rois(), data.validation_rois())
    raw = tmp_path / "raw" / DATASET
    described = json.loads((raw / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert described["numTraining"] == 4
    cases = json.loads((tmp_path / "cases.json").read_text())
    (fold,) = json.loads((tmp_path / "splits_final.json").read_text())
    assert [cases[case] for case in fold["val"]] == ["val roi/0.png"]
    assert len(fold["train"]) == 3
    for (_, image, target), case in zip(data.rois(), fold["train"], strict=True):
        stored = np.asarray(Image.open(raw / "imagesTr" / f"{case}_0000.png"))
        assert np.array_equal(stored, image)
        numbers = np.asarray(Image.open(raw / "labelsTr" / f"{case}.png"))
        for ours, theirs in ((0, 1), (1, 2), (2, 0), (255, 3)):
            assert np.array_equal(numbers == theirs, target == ours)


def test_its_folders_are_said_to_its_process_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/mine")
    monkeypatch.setenv("RANK", "1")
    made_for = process.environment(tmp_path, 3)
    assert made_for["nnUNet_raw"] == str(tmp_path / "raw")
    assert made_for["nnUNet_def_n_proc"] == made_for["nnUNet_n_proc_DA"] == "3"
    assert "RANK" not in made_for
    assert os.environ.get("nnUNet_raw") == "/mine"  # noqa: SIM112 - as nnU-Net spells it
    monkeypatch.delenv("nnUNet_def_n_proc", raising=False)
    assert "nnUNet_def_n_proc" not in process.environment(tmp_path, None), "nnU-Net's own default"


def test_a_torn_checkpoint_is_not_gone_on_from(tmp_path):
    torch.save({"a": torch.zeros(100)}, tmp_path / BEST)
    (tmp_path / LATEST).write_bytes((tmp_path / BEST).read_bytes()[:-40])
    assert _whole(tmp_path)
    assert not (tmp_path / LATEST).exists()
    (tmp_path / BEST).write_bytes(b"")
    assert not _whole(tmp_path)


def test_weights_of_another_program_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="are not of nnU-Net v2: they hold no plans"):
        made(tmp_path / "other.pt", evaluating=True).build()
    with pytest.raises(WeightsError, match="benchbcss evaluate nnunet --weights"):
        made(tmp_path / "other.pt").build()


def test_where_it_is_missing_the_command_that_installs_it_is_said(monkeypatch):
    entry = registry.load().backends.get("nnunet")
    if entry is None:
        pytest.skip("the distribution was installed before the plugin was part of it")
    assert entry.info.extra == "nnunet"
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "nnunetv2" else find(name)
    )
    with pytest.raises(PluginError, match=r"needs nnunetv2, .*pip install 'benchbcss\[nnunet\]'"):
        entry.require()


SHORT = {"model.epochs": 2, "model.iterations": 2, "model.validation_iterations": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Killed after its first epoch, then trained to its end: the backend, its network, its folder
    and what nnU-Net's log says."""
    folder = tmp_path_factory.mktemp("run") / "fit"
    backend = made(**{**SHORT, "model.epochs": 1})
    backend.context.folder = folder
    _killed_before_its_end(backend)
    backend = made(**SHORT)
    backend.context.folder = folder
    model = backend.build()
    assert backend.fit(model, Rois())
    return backend, model.eval(), folder


def _killed_before_its_end(backend):
    """One epoch is trained and checkpointed; its final checkpoint is then the latest of a longer
    training, as a kill after that epoch would have left it."""
    from benchbcss_nnunet import backend as module

    tidy, module._tidy = module._tidy, lambda folder: None
    try:
        assert backend.fit(backend.build(), Rois())
    finally:
        module._tidy = tidy
    (final,) = backend.context.folder.glob(f"results/{DATASET}/*/fold_0/{FINAL}")
    final.rename(final.with_name(LATEST))


@real
def test_it_goes_on_from_its_last_checkpoint(trained):
    _, _, folder = trained
    logs = sorted(folder.glob(f"results/{DATASET}/*/fold_0/training_log_*.txt"))
    said = [[f"Epoch {number} \n" in log.read_text() for number in (0, 1)] for log in logs]
    assert [True, False] in said, "the first epoch, alone"
    assert [False, True] in said, "the second, without the first again"


@real
def test_what_it_learnt_is_in_the_network_and_the_rest_is_tidied_away(trained):
    backend, model, folder = trained
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5
    notes = backend.context.notes["nnunet"]
    assert notes["epochs"] == 2
    assert notes["seconds"] > 0
    assert not [p for p in ("raw", "preprocessed", "tmp") if (folder / p).exists()]
    assert len(list(folder.glob(f"results/{DATASET}/*/fold_0/{FINAL}"))) == 1
    split = json.loads((folder / "splits_final.json").read_text())
    log = next(folder.glob("results/*/*/fold_0/training_log_*.txt")).read_text()
    assert f"This split has {len(split[0]['train'])} training and 1 validation cases" in log


@real
def test_it_predicts_every_size_as_nnunets_own_command_does(trained, tmp_path):
    backend, model, folder = trained
    assert backend.predict_roi(model, np.zeros((17, 23, 3), np.uint8)).shape == (17, 23)
    _, image, _ = next(Rois().rois())
    ours = backend.predict_roi(model, image)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "case_0000.png")
    script = (
        "import sys, torch; from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor\n"
        "if __name__ == '__main__':\n"
        "    p = nnUNetPredictor(use_mirroring=False, device=torch.device('cpu'))\n"
        "    p.initialize_from_trained_model_folder(sys.argv[1], (0,))\n"
        "    p.predict_from_files_sequential([[sys.argv[2]]], [sys.argv[3]])\n"
    )
    (place,) = folder.glob(f"results/{DATASET}/*")
    (tmp_path / "predict.py").write_text(script)
    plugin = os.path.dirname(process.__file__)
    environment = {
        **os.environ,
        "nnUNet_extTrainer": plugin,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    arguments = (place, tmp_path / "in" / "case_0000.png", tmp_path / "out")
    subprocess.run(
        [sys.executable, tmp_path / "predict.py", *arguments], check=True, env=environment
    )
    theirs = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(np.array([1, 2, 0])[ours], theirs)


@real
def test_checkpoints_of_both_are_evaluated(trained, tmp_path):
    backend, model, folder = trained
    _, image, _ = next(Rois().rois())
    expected = backend.predict_roi(model, image)
    torch.save(model.state_dict(), tmp_path / "ours.pt")
    (theirs,) = folder.glob(f"results/{DATASET}/*/fold_0/{FINAL}")
    for path in (tmp_path / "ours.pt", theirs):
        again = made(path, evaluating=True)
        assert np.array_equal(again.predict_roi(again.build().eval(), image), expected)
    other = Task(("tumor", "vessel", "other"), (0, 1), 0.3, 64)
    again = made(theirs, evaluating=True)
    again.task = other
    with pytest.raises(WeightsError, match="vessel, other are not among them"):
        again.build()


@real
def test_its_reason_is_said_when_it_stops(tmp_path):
    backend = made(**{**SHORT, "model.configuration": "3d_fullres"})
    backend.context.folder = tmp_path / "fit"
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "exported").touch()  # of nothing
    with pytest.raises(PluginError, match=r"nnU-Net stopped: .*log\.txt"):
        backend.fit(backend.build(), Rois())
