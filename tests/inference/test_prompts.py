import numpy as np

from benchbcss.inference.prompts import box_prompts
from benchbcss.inference.views import squash, squash_labels


def test_tight_boxes_scaled_to_the_view():
    target = np.full((20, 40), 255, np.uint8)
    target[4:8, 10:30] = 1
    target[15, 0] = 0
    first, second = box_prompts(target, (0, 1, 2), 100)  # class 2 is absent: not prompted
    assert (first.class_index, first.box) == (0, (0.0, 75.0, 2.5, 80.0))
    assert (second.class_index, second.box) == (1, (25.0, 20.0, 75.0, 40.0))


def test_ignored_pixels_give_no_prompt():
    assert box_prompts(np.full((8, 8), 255, np.uint8), (0, 1), 32) == []


def test_squashing_averages_areas_and_keeps_labels():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 200
    assert (squash(image, 4)[:2] == 200).all()
    labels = np.arange(4, dtype=np.uint8).reshape(2, 2)
    assert (squash_labels(labels, (4, 6)) == np.kron(labels, np.ones((2, 3), int))).all()
