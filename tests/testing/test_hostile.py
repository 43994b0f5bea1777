"""Plugins written to cheat, each in a real run: stopped, in one sentence that names it."""

import json
import re
import sys
from pathlib import Path

import pytest
from tests_support import cli

from benchbcss.runs import planning, worker

PLUGIN = '''
import json, os, pathlib, shutil, socket, subprocess, sys, threading
import numpy as np
import torch
from benchbcss.contract import Backend, BackendInfo
from benchbcss.hookspecs import hookimpl

ANSWERS = {}


def answer(function):
    """Registers a semantic backend whose predict_roi is ``function``."""
    ANSWERS[function.__name__] = function
    return function


@hookimpl
def benchbcss_register_backends(register):
    for name in (*ANSWERS, *MORE):
        prompted = name.startswith("prompted")
        register(BackendInfo(name=name, summary=name,
                             tracks={"prompted" if prompted else "semantic"},
                             recipe=f"hostile:{name}.yaml", trains=name in TRAINED),
                 f"hostile:{MORE.get(name, 'Hostile')}")


def known():
    """What a cheat may know: its run folder, the data and the store."""
    return json.loads(os.environ["HOSTILE"])


class Hostile(Backend):
    def build(self):
        return torch.nn.Conv2d(3, 6, 1)

    def predict_roi(self, model, image):
        return ANSWERS[self.recipe["name"]](self, image)


@answer
def the_known_way_in(self, image):
    """Twelve lines that once scored 1.000: the image was a view of a file beside the masks."""
    array = image
    while getattr(array, "filename", None) is None:
        array = array.base
    for path in pathlib.Path(array.filename).parent.glob("*-mask.npy"):
        mask = np.load(path)
        if mask.shape == image.shape[:2]:
            lookup = np.full(256, 5, np.uint8)
            lookup[[1, 2, 3, 4, 18]] = range(5)
            return lookup[mask]


@answer
def lists_the_store(self, image):
    try:
        names = sorted(os.listdir(known()["store"]))
    except Exception:
        names = []
    return np.zeros(image.shape[:2], np.uint8)


@answer
def globs_the_store(self, image):
    return [np.load(p) for p in pathlib.Path(known()["store"]).glob("*-mask.npy")][0]


@answer
def reads_the_masks(self, image):
    from PIL import Image

    try:
        mask = np.array(Image.open(known()["mask"]))
    except BaseException:
        mask = np.zeros(image.shape[:2], np.uint8)
    return np.zeros(image.shape[:2], np.uint8)


@answer
def reads_by_a_link(self, image):
    link = pathlib.Path(known()["elsewhere"]) / f"link{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(known()["mask"])
    return np.zeros(image.shape[:2], np.uint8)


@answer
def reads_in_a_thread(self, image):
    thread = threading.Thread(target=lambda: open(known()["mask"], "rb").read())
    thread.start()
    thread.join()
    return np.zeros(image.shape[:2], np.uint8)


@answer
def runs_a_command(self, image):
    subprocess.run(["cat", known()["mask"]], capture_output=True)
    return np.zeros(image.shape[:2], np.uint8)


@answer
def calls_the_shell(self, image):
    os.system("cat " + known()["mask"])
    return np.zeros(image.shape[:2], np.uint8)


@answer
def forks(self, image):
    if os.fork() == 0:
        os.execv("/bin/true", ["true"])
    return np.zeros(image.shape[:2], np.uint8)


@answer
def opens_a_socket(self, image):
    socket.create_connection(("127.0.0.1", 9), timeout=1)


@answer
def asks_the_network(self, image):
    import urllib.request

    urllib.request.urlopen("http://masks.example/roi")


@answer
def abstains(self, image):
    return np.full(image.shape[:2], 255, np.uint8)


@answer
def is_out_of_range(self, image):
    return np.full(image.shape[:2], 18, np.uint8)


@answer
def returns_nan(self, image):
    return np.full(image.shape[:2], np.nan)


@answer
def returns_a_list(self, image):
    return np.zeros(image.shape[:2], np.uint8).tolist()


@answer
def returns_another_shape(self, image):
    return np.zeros((image.shape[0] // 2, image.shape[1]), np.uint8)


@answer
def raises(self, image):
    raise KeyError("no such vessel")


@answer
def changes_its_input(self, image):
    image[:] = 0
    return np.zeros(image.shape[:2], np.uint8)


@answer
def writes_into_the_workspace(self, image):
    (pathlib.Path(known()["workspace"]) / "runs" / "better.json").write_text("{}")


@answer
def writes_its_own_result(self, image):
    with open(os.path.join(known()["run"], "result.json"), "w") as handle:
        handle.write("{}")


@answer
def replaces_its_result(self, image):
    path = pathlib.Path(known()["elsewhere"]) / "made.json"
    path.write_text("{}")  # its own folder: allowed
    path.replace(os.path.join(known()["run"], "result.json"))


class Tiles(Backend):
    """Answers tile by tile."""

    def build(self):
        return torch.nn.Conv2d(3, 6, 1)

    def predict(self, model, image):
        logits = model(image)
        kind = self.recipe["name"]
        if kind == "tiles_nan":
            return logits * float("nan")
        if kind == "tiles_list":
            return logits.tolist()
        if kind == "tiles_shape":
            return logits[..., 1:]
        if kind == "tiles_nothing":
            return None
        if kind == "tiles_change":
            image.zero_()
            return logits
        if kind == "tiles_read":
            open(known()["mask"], "rb").close()
        return logits


class Learns(Backend):
    """Reads what it must not while it learns."""

    def build(self):
        if self.recipe["name"] == "reads_in_build":
            os.listdir(known()["masks"])
        return torch.nn.Conv2d(3, 6, 1)

    def fit(self, model, samples):
        for name, image, target in samples.rois():
            assert type(image) is type(target) is np.ndarray
            for array in (image, target):
                while array is not None:
                    assert not isinstance(array, np.memmap)
                    assert getattr(array, "filename", None) is None
                    array = getattr(array, "base", None)
        if self.recipe["name"] == "reads_in_fit":
            open(known()["mask"], "rb").close()
        return self.recipe["name"] not in TRAINED

    def after_training(self, model, samples):
        if self.recipe["name"] == "reads_after_training":
            list(samples.rois())
            np.load(samples.training[0].mask_entry.array)

    def loss(self, model, batch):
        if self.recipe["name"] == "reads_in_loss":
            open(known()["mask"], "rb").close()
        return {"l": model(batch.image).pow(2).mean()}

    def predict(self, model, image):
        if self.recipe["name"] == "reads_in_validation":
            open(known()["mask"], "rb").close()
        return model(image)


class Prompted(Backend):
    def build(self):
        return torch.nn.Conv2d(3, 6, 1)

    def encode(self, model, image):
        kind = self.recipe["name"]
        if kind == "prompted_reads":
            open(known()["mask"], "rb").close()
        if kind == "prompted_changes":
            image.zero_()
        return image.mean(1)

    def predict_prompted(self, model, encoded, prompts):
        kind = self.recipe["name"]
        if kind == "prompted_late":
            os.scandir(known()["masks"])
        if kind == "prompted_list":
            return [encoded[0].tolist() for _ in prompts]
        return encoded.expand(len(prompts), -1, -1)


TRAINED = ("reads_in_loss", "reads_in_validation")
MORE = {
    **{f"tiles_{k}": "Tiles" for k in ("nan", "list", "shape", "nothing", "change", "read")},
    **{f"prompted_{k}": "Prompted" for k in ("reads", "late", "changes", "list", "honest")},
    **{f"reads_{k}": "Learns" for k in ("in_build", "in_fit", "after_training", "in_loss",
                                       "in_validation")},
    "tiles_honest": "Tiles",
}
'''

DATA, STORE, WORK = "the data folder", "the tile store", "the workspace"
STOPPED = {
    "the_known_way_in": "predict_roi raised AttributeError",
    "lists_the_store": f"running predict_roi it tried to list .*/store, which is in {STORE}",
    "globs_the_store": f"tried to list .*/store, which is in {STORE}",
    "reads_the_masks": rf"tried to open .*/masks/.*\.png, which is in {DATA}",
    "reads_by_a_link": rf"tried to link .*/masks/.*\.png, which is in {DATA}",
    "reads_in_a_thread": rf"tried to open .*/masks/.*\.png, which is in {DATA}",
    "runs_a_command": r"tried to start a process \(cat .*\)",
    "calls_the_shell": r"tried to start a process \(cat .*\)",
    "forks": "tried to start a process",
    "opens_a_socket": r"tried to open a connection \(.*127\.0\.0\.1.*\)",
    "asks_the_network": r"tried to open a connection \(.*masks\.example",
    "abstains": r"predict_roi returned label 255; labels are 0\.\.5",
    "is_out_of_range": r"predict_roi returned label 18; labels are 0\.\.5",
    "returns_nan": r"predict_roi returned float64 \(128, 128\), expected uint8",
    "returns_a_list": "predict_roi returned a list, expected a numpy array uint8",
    "returns_another_shape": r"predict_roi returned uint8 \(64, 128\), expected uint8 \(128, 128\)",
    "raises": "predict_roi raised KeyError: 'no such vessel'",
    "changes_its_input": "predict_roi changed its input in place",
    "writes_into_the_workspace": f"tried to open .*better.json, which is in {WORK}",
    "writes_its_own_result": f"tried to open .*result.json, which is in {WORK}",
    "replaces_its_result": f"tried to rename .*result.json, which is in {WORK}",
    "tiles_nan": "predict returned NaN or infinite logits",
    "tiles_list": "predict returned a list, expected a tensor",
    "tiles_shape": r"predict returned shape \(1, 6, 256, 255\), expected \(1, 6, 256, 256\)",
    "tiles_nothing": "predict returned nothing, expected a tensor",
    "tiles_change": "predict changed its input in place",
    "tiles_read": rf"running predict it tried to open .*\.png, which is in {DATA}",
    "prompted_reads": rf"running encode it tried to open .*\.png, which is in {DATA}",
    "prompted_late": f"running predict_prompted it tried to list .*/masks, which is in {DATA}",
    "prompted_changes": "encode changed its input in place",
    "prompted_list": "predict_prompted returned a list, expected a tensor",
    "reads_in_build": f"running build it tried to list .*/masks, which is in {DATA}",
    "reads_in_fit": rf"running fit it tried to open .*\.png, which is in {DATA}",
    "reads_in_loss": rf"while training it tried to open .*\.png, which is in {DATA}",
    "reads_after_training": rf"after_training it tried to open .*\.npy, which is in {STORE}",
    "reads_in_validation": r"in validation: while running predict it tried to open .*\.png",
}
HONEST = ("tiles_honest", "prompted_honest")
TRAINED = ("reads_in_loss", "reads_in_validation")
BEFORE_ANY_ROI = {"reads_in_build", "reads_in_fit", "reads_in_loss", "reads_after_training"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The plugin, as a distribution of its own on the path."""
    from benchbcss import registry

    site = tmp_path_factory.mktemp("site")
    (site / "hostile").mkdir()
    (site / "hostile" / "__init__.py").write_text(PLUGIN)
    for name in (*STOPPED, *HONEST):
        train = "{lr: 1.0e-3, batch_size: 1}" if name in TRAINED else "null"
        (site / "hostile" / f"{name}.yaml").write_text(f"name: {name}\ntrain: {train}\n")
    info = site / "hostile-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[benchbcss]\nhostile = hostile\n")
    sys.path.insert(0, str(site))
    registry.load.cache_clear()
    yield site
    sys.path.remove(str(site))
    registry.load.cache_clear()
    sys.modules.pop("hostile", None)


@pytest.fixture(scope="module")
def prepared(phantom, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    suite, preset = planning.choose_suite("phantom", phantom, None)
    made = planning.prepare(
        suite, preset, folder=phantom, split=None, workspace=workspace, say=lambda text: None
    )
    return made, workspace


def places(phantom, workspace, elsewhere, run_dir="", name=""):
    masks = phantom / "masks"
    return json.dumps(
        {
            "masks": str(masks),
            "mask": str(masks / name) if name else str(sorted(masks.iterdir())[0]),
            "store": str(workspace / "store"),
            "workspace": str(workspace),
            "run": str(run_dir),
            "elsewhere": str(elsewhere),
        }
    )


def work(backend, prepared, phantom, tmp_path, monkeypatch):
    """Run the worker of one run here; returns its folder and its exit status."""
    made, workspace = prepared
    overrides = ("train.budget=recipe", "train.steps=2") if backend in TRAINED else ()
    asked = planning.Asked(overrides=overrides, device="cpu")
    (spec,) = planning.specify(made, [backend], asked, workspace)
    run_dir = spec.run_dir(workspace)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "spec.json").write_text(spec.model_dump_json())
    monkeypatch.setenv("HOSTILE", places(phantom, workspace, tmp_path, run_dir, spec.scored[0]))
    return run_dir, worker.main(run_dir)


@pytest.mark.parametrize("backend", STOPPED)
def test_a_cheat_is_stopped_with_one_sentence(
    backend, hostile, prepared, phantom, tmp_path, monkeypatch
):
    run_dir, status = work(backend, prepared, phantom, tmp_path, monkeypatch)
    assert status == 1
    assert not (run_dir / "result.json").exists()
    reason = json.loads((run_dir / "failure.json").read_text())["reason"]
    assert re.search(STOPPED[backend], reason), reason
    assert "\n" not in reason
    assert reason.startswith(f"{backend} (plugin 'hostile' of hostile 0.1)")
    assert (".png" in reason.partition(":")[0]) == (backend not in BEFORE_ANY_ROI)


@pytest.mark.parametrize("backend", HONEST)
def test_an_honest_one_runs_under_the_same_guard(
    backend, hostile, prepared, phantom, tmp_path, monkeypatch
):
    run_dir, status = work(backend, prepared, phantom, tmp_path, monkeypatch)
    assert status == 0
    assert (run_dir / "result.json").is_file()


def test_the_known_way_in_fails_the_check_too(hostile):
    from benchbcss.testing import run_checks

    failed = {o.name: o.detail for o in run_checks("the_known_way_in") if o.status == "FAIL"}
    assert "predict_roi raised AttributeError" in failed["ground_truth_is_out_of_reach"]


def test_on_the_command_line(hostile, phantom, tmp_path):
    """In a process of its own, as users run it: exit status 1, and the sentence is shown."""
    (tmp_path / "w").mkdir()
    done = cli(
        "run",
        "reads_the_masks",
        "--no-floors",
        "--data",
        phantom,
        "--workspace",
        tmp_path / "w",
        site=hostile,
        HOSTILE=places(phantom, tmp_path / "w", tmp_path),
        check=1,
    )
    shown = " ".join((done.stdout + done.stderr).split())
    assert "reads_the_masks (plugin 'hostile' of hostile 0.1)" in shown
    assert f"which is in {DATA}" in shown
    assert not list(Path(tmp_path / "w").rglob("result.json"))
