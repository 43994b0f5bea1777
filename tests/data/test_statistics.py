import json

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import build_label_map
from benchbcss.data.statistics import statistics
from benchbcss.data.store import TileStore

CODES = {"outside": 0, "tumor": 1, "stroma": 2, "rare": 3}
LABELS = build_label_map(
    "three",
    {"classes": {"tumor": ["tumor"], "stroma": ["stroma"], "rare": ["rare"]}, "ignore": [0]},
    CODES,
)
MASKS = {
    # diagonal neighbours are one component; 0 is ignored
    "a-A1-x.png": [[1, 0, 0, 2], [0, 1, 0, 2], [0, 0, 0, 0]],
    "b-A2-x.png": [[1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
}


@pytest.fixture
def rois(tmp_path):
    for name, mask in MASKS.items():
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        codes = np.array(mask, np.uint8)
        Image.fromarray(codes).save(tmp_path / "masks" / name)
        Image.fromarray(np.zeros((*codes.shape, 3), np.uint8)).save(tmp_path / "images" / name)
    source = Dataset(tmp_path, TileStore(tmp_path / "store"))
    return source.rois(source.names, LABELS).values()


def test_pixels_rois_and_components_are_those_counted_by_hand(rois):
    content = statistics(rois, LABELS, mpp=0.5)
    tumor, stroma, rare = content["classes"]
    assert (content["rois"], content["pixels"], content["ignored"]) == (2, 24, 17)
    assert (tumor["pixels"], tumor["ROIs with it"], tumor["components"]) == (5, 2, 3)
    assert tumor["median component um2"] == 0.5  # of 2, 1 and 2 pixels
    assert (stroma["pixels"], stroma["ROIs with it"], stroma["components"]) == (2, 1, 1)
    assert stroma["share of all pixels"] == round(2 / 24, 4)
    assert (rare["pixels"], rare["components"], rare["median component um2"]) == (0, 0, None)
    assert rare["codes"] == "3"


def test_institutes_count_rois_and_the_whole_is_json(rois):
    content = statistics(rois, LABELS, mpp=0.25)
    assert sum(content["institutes"].values()) == 2
    assert json.loads(json.dumps(content)) == content
    assert content["classes"][0]["median component um2"] == 0.1  # 2 pixels of 0.0625 um2
