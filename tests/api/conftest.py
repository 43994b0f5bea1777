"""A workspace as the API itself fills it: two floors, and three sets of label maps, on twelve test
ROIs."""

import numpy as np
import pytest
from PIL import Image
from tests_support import write_folder

import benchbcss as bb

CODES = np.array([1, 2, 3, 4, 18, 9], np.uint8)
WRONG = {"good": 0.2, "also": 0.2, "bad": 0.5}


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    root = tmp_path_factory.mktemp("api")
    rng = np.random.default_rng(0)
    masks = {
        f"TCGA-{site}-P{i:03}-DX1.png": CODES[rng.integers(0, 6, (8, 6))].repeat(8, 0).repeat(8, 1)
        for i, site in enumerate(["A1", "A2"] * 7)
    }
    parts = ["train", "val", *["test"] * 12]
    data = write_folder(root / "d", masks, split=dict(zip(masks, parts, strict=True)))
    for number, (name, wrong) in enumerate(WRONG.items()):
        noise = np.random.default_rng(number + 1)
        (root / name).mkdir()
        for roi, mask in masks.items():
            found = np.argsort(CODES)[np.searchsorted(np.sort(CODES), mask)].astype(np.uint8)
            flip = noise.random(found.shape) < wrong
            found[flip] = noise.integers(0, 6, int(flip.sum()))
            Image.fromarray(found).save(root / name / roi)
        common = {"data": data, "split": str(data / "splits.csv"), "workspace": root / "w"}
        bb.score(root / name, preset="smoke", quiet=True, **common)
    runs = bb.run(
        ["floor_majority", "floor_box_fill"], preset="smoke", floors=False, device="cpu", **common
    )
    assert [outcome.status for outcome in runs] == ["done", "done"]
    return root
