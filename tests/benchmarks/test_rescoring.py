"""The data that ``benchmarks.rescoring`` writes is what the harness reads."""

import cv2
import numpy as np

from benchbcss.data.labels import official_codes
from benchbcss.suites import load_suite
from benchmarks import rescoring
from benchmarks.speed.maps import pair


def test_every_roi_is_a_picture_of_its_own_of_the_classes_that_were_drawn(tmp_path):
    suite, _ = load_suite(rescoring.write_data(tmp_path, 3, 0.04), "smoke")
    lookup = suite.labels(official_codes()).lookup
    drawn = np.bincount(pair(0.04)[0].ravel(), minlength=6)
    pictures = set()
    for path in (tmp_path / "masks").iterdir():
        labels = lookup[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)]
        assert np.array_equal(np.bincount(labels.ravel()), drawn)
        pictures.add(labels.tobytes())
    assert len(pictures) == 5  # equal ones in two parts are refused
    parts = [row.split(",")[1] for row in (tmp_path / "splits.csv").read_text().split()[1:]]
    assert sorted(parts) == ["test", "test", "test", "train", "val"]
