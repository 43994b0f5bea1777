import json

import numpy as np
import pytest
from PIL import Image
from tests_support import cli, write_folder

# -- the command, on predictions made elsewhere ----------------------------------------------


@pytest.fixture
def scored(tmp_path):
    """Twelve test ROIs, and three sets of predictions: good, good with other noise, bad."""
    rng = np.random.default_rng(0)
    codes = np.array([1, 2, 3, 4, 18, 9], np.uint8)
    masks = {f"roi{i:02}.png": codes[rng.integers(0, 6, (64, 48))] for i in range(14)}
    parts = ["train", "val", *["test"] * 12]
    data = write_folder(tmp_path / "d", masks, split=dict(zip(masks, parts, strict=True)))
    label = {int(code): index for index, code in enumerate(codes)}
    for number, (name, wrong) in enumerate((("good", 0.2), ("also", 0.2), ("bad", 0.5))):
        noise = np.random.default_rng(number + 1)
        (tmp_path / name).mkdir()
        for roi, mask in masks.items():
            found = np.vectorize(label.get)(mask).astype(np.uint8)
            flip = noise.random(found.shape) < wrong
            found[flip] = noise.integers(0, 6, int(flip.sum()))
            Image.fromarray(found).save(tmp_path / name / roi)
        cli(
            *("score", tmp_path / name, "--data", data, "--split", data / "splits.csv"),
            *("--workspace", tmp_path / "w"),
            check=0,
        )
    return tmp_path / "w"


def test_the_command(scored):
    done = cli("compare", "good", "also", "bad", "--workspace", scored, "--format", "json", check=0)
    found = json.loads(done.stdout)
    assert list(found["estimands"]) == ["per_roi", "pooled"]
    for part in found["estimands"].values():
        verdicts = {(p["a"], p["b"]): p["verdict"] for p in part["pairs"]}
        expected = {("good", "also"): "tie", ("good", "bad"): "good", ("also", "bad"): "also"}
        assert verdicts == expected
        ranks = {row["name"]: row["rank_text"] for row in part["standings"]}
        assert ranks == {"good": "1-2", "also": "1-2", "bad": "3"}
        for pair in part["pairs"]:  # one test gives both
            excludes = pair["mean"]["low"] > 0 or pair["mean"]["high"] < 0
            assert excludes == (pair["mean"]["p"] < 0.05)
    text = cli("compare", "good", "bad", "--workspace", scored, check=0).stdout
    assert "good - bad" in text
    assert "in how many ROIs" in text


def test_what_does_not_compare_is_refused_with_the_field(scored):
    path = next(scored.glob("runs/bcss5/bad/*/result.json"))
    content = json.loads(path.read_text())
    content["split"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(content))
    done = cli("compare", "good", "bad", "--workspace", scored, check=2)
    assert "bad cannot be compared with the others: split differs" in done.stderr
    done = cli("compare", "good", "godo", "--workspace", scored, check=2)
    assert "Did you mean 'good'" in done.stderr
    assert "two different" in cli("compare", "good", "good", "--workspace", scored, check=2).stderr
