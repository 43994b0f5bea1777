"""The pages on one's own data, predictions and checkpoints, carried out as they stand."""

import csv
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import warm
from PIL import Image
from tests_support import SET_TINY_UNETPP

DOCS = Path(__file__).parents[2] / "docs"


def carried_out(page, folder):
    """The files that ``page`` shows are written to ``folder`` and its commands run there, with a
    small network: what they say, by command."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, content in re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", text, re.S):
        (folder / name).write_text(content, encoding="utf-8")
    (run,) = re.findall(r"<!-- run -->\n```\n(.*?)```", text, re.S)
    said = {}
    for line in run.strip().splitlines():
        program, *words = shlex.split(line)
        assert program in ("python", "benchbcss")
        environment = {**os.environ, "BENCHBCSS_WORKSPACE": str(folder / "w")}
        if program == "python":
            assert words[0].endswith(".py")
            program, *words = words[0].removesuffix(".py"), *words[1:]
        if words[:2] == ["run", "unetpp"]:
            words += SET_TINY_UNETPP
        done = warm.run(program, words, environment, folder)
        assert done.returncode == 0, line + done.stdout + done.stderr
        said[line] = done.stdout + done.stderr
    return said


def result(folder, suite, name):
    (path,) = (folder / "w" / "runs" / suite / name).glob("*/result.json")
    return json.loads(path.read_text())


def test_images(folder, suite):
    with open(folder / suite / "splits.csv", newline="") as handle:
        return [row["filename"] for row in csv.DictReader(handle) if row["split"] == "test"]


test_images.__test__ = False


def mean_dice(pairs, label):
    """Of [(true labels, predicted)], over the images in which the class is true or predicted."""
    values = []
    for true, predicted in pairs:
        known = true != 255
        one, other = (true == label) & known, (predicted == label) & known
        if one.any() or other.any():
            values.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    return np.mean(values)


@pytest.mark.slow
def test_your_data(tmp_path):
    said = carried_out("your-data.md", tmp_path)
    board = list(said.values())[-1]
    assert "toy / semantic" in board
    content = result(tmp_path, "toy", "unetpp")
    assert content["training"]["steps"] == 30
    assert content["label_map"]["classes"].keys() == {"background", "epithelium", "stroma"}
    with open(tmp_path / "toy" / "splits.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    parts = {}
    for row in rows:
        parts.setdefault(row["patient"], set()).add(row["split"])
    assert len(rows) == 12
    assert parts.keys() == {"P0", "P1", "P2", "P3"}
    assert all(len(where) == 1 for where in parts.values())


@pytest.mark.slow
def test_your_predictions(tmp_path):
    carried_out("your-predictions.md", tmp_path)
    content = result(tmp_path, "dataset501-toy", "our_nnunet")
    pairs = []
    for path in sorted((tmp_path / "nnUNet_output").glob("*.png")):
        true = np.asarray(Image.open(tmp_path / "Dataset501_Toy" / "labelsTs" / path.name))
        pairs.append((np.where(true == 3, 255, true), np.asarray(Image.open(path))))
    assert len(pairs) == 4
    scores = content["tracks"]["semantic"]["headline"]["per_roi"]
    expected = {name: mean_dice(pairs, label) for label, name in ((1, "tumor"), (2, "stroma"))}
    assert scores["dice"] == pytest.approx(expected, abs=1e-9)
    assert scores["mean"] == pytest.approx(np.mean(list(expected.values())), abs=1e-9)


@pytest.mark.slow
def test_your_checkpoint(tmp_path):
    import segmentation_models_pytorch as smp
    import torch
    from transformers import SegformerForSemanticSegmentation

    carried_out("your-checkpoint.md", tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    unet = smp.UnetPlusPlus("resnet18", encoder_weights=None, classes=3).eval()
    unet.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
    segformer = SegformerForSemanticSegmentation.from_pretrained(tmp_path / "segformer").eval()
    imagenet = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])

    def by_unet(x):
        return unet((x - state["mean"].view(3, 1, 1)) / state["std"].view(3, 1, 1))

    def by_segformer(x):
        logits = segformer((x - imagenet[0].view(3, 1, 1)) / imagenet[1].view(3, 1, 1)).logits
        return torch.nn.functional.interpolate(logits, x.shape[-2:], mode="bilinear")[:, [2, 3, 1]]

    for name, network in (("unetpp", by_unet), ("hf_semantic", by_segformer)):
        content = result(tmp_path, "toy", name)
        assert content["weights"]["loaded"]["share"] == 1
        pairs = []
        for roi in test_images(tmp_path, "toy"):
            image = np.asarray(Image.open(tmp_path / "toy" / "images" / roi))
            with torch.no_grad():
                x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255
                predicted = network(x).argmax(1)[0].numpy()
            pairs.append((np.asarray(Image.open(tmp_path / "toy" / "masks" / roi)), predicted))
        expected = {c: mean_dice(pairs, i) for i, c in ((1, "tumor"), (2, "blood vessel"))}
        scores = content["tracks"]["semantic"]["headline"]["per_roi"]["dice"]
        assert scores == pytest.approx(expected, abs=2e-3), name
