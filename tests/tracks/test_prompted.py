"""The prompted track from end to end, and what it validates with."""

import json

import numpy as np
import pytest
from tests_support import cli, write_folder

from benchbcss.contract import Prompting
from benchbcss.suites import PromptingSet
from benchbcss.tracks import prompted

NAMES = [f"class{i}" for i in range(9)]


def nine(tmp_path):
    """Eight ROIs of nine classes and a suite that knows them."""
    rng = np.random.default_rng(0)
    masks = {
        f"roi{i}.png": np.kron(rng.integers(0, 9, (4, 4)), np.ones((16, 16))).astype(np.uint8)
        for i in range(8)
    }
    parts = ["train"] * 4 + ["val"] + ["test"] * 3
    data = write_folder(tmp_path / "d", masks, split=dict(zip(masks, parts, strict=True)))
    codes = "\n".join(f"    {name}: {code}" for code, name in enumerate(NAMES))
    classes = "\n".join(f"    {name}: [{name}]" for name in NAMES)
    (tmp_path / "nine.yaml").write_text(
        f"label_map:\n  codes:\n{codes}\n  classes:\n{classes}\n"
        "split: splits.csv\ntile: {size: 64, overlap: 16}\ntracks: [prompted]\n"
        "default_preset: smoke\n"
    )
    return data, tmp_path / "nine.yaml"


def test_nine_classes_are_prompted_stored_and_scored(tmp_path):
    """A byte has eight bits: the ninth class has a plane of its own."""
    data, suite = nine(tmp_path)
    cli("suites", "--validate", suite, check=0)
    common = ("--suite", suite, "--data", data, "--workspace", tmp_path / "w")
    cli("run", "floor_box_fill", "--no-floors", *common, check=0)
    (path,) = tmp_path.glob("w/runs/nine/floor_box_fill/*/result.json")
    section = json.loads(path.read_text())["tracks"]["prompted"]
    assert section["classes"] == NAMES
    dice = section["headline"]["per_roi"]["dice"]
    scored = [name for name in NAMES if section["rois_with_class"][name]]
    assert "class8" in scored
    assert all(0 < dice[name] <= 1 for name in scored)
    before = path.read_bytes()
    cli("rescore", "--workspace", tmp_path / "w", check=0)
    assert json.loads(path.read_bytes())["tracks"] == json.loads(before)["tracks"]


class Allowing:
    def __init__(self, strategies):
        self.strategies = strategies


@pytest.mark.parametrize(
    ("headline", "strategies", "expected"),
    [
        ("box-class", None, "box-class"),
        ("points5-largest", None, "points5-largest"),
        ("points5-largest", ("box", "box_neg"), "box-largest"),
        ("centroid-components-tta", ("centroid",), "centroid-components-tta"),
    ],
)
def test_validation_uses_the_headline_or_what_the_backend_can(headline, strategies, expected):
    """The headline comes first, then the suite's own order."""
    suite = PromptingSet(headline=headline)
    first = prompted.usable(Allowing(strategies), suite.all())[0]
    assert first.strategy == Prompting.parse(expected).strategy
    if strategies is None:
        assert first.key == headline
