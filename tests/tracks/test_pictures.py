import io

import numpy as np
import pytest
from PIL import Image

from benchbcss.errors import DataError
from benchbcss.tracks import pictures


@pytest.mark.parametrize("classes", [1, 5, 8, 9, 22])
def test_masks_of_any_number_of_classes_may_overlap(classes, tmp_path):
    rng = np.random.default_rng(classes)
    found = {label: rng.random((5, 6)) < 0.5 for label in range(classes)}
    (tmp_path / "a.png").write_bytes(pictures.masks(pictures.pack(found, (5, 6), classes)))
    packed = pictures.read(tmp_path / "a.png", (5, 6), classes)
    again = pictures.unpacked(packed, range(classes), 5)
    assert all((again[label] == mask).all() for label, mask in found.items())


def test_a_class_that_was_not_prompted_is_empty():
    packed = pictures.pack({8: np.ones((3, 4), bool)}, (3, 4), 9)
    assert packed.shape == (6, 4)
    assert pictures.unpack(packed, 8, 3).all()
    assert not pictures.unpack(packed, 0, 3).any()


def test_label_maps_have_colours_and_keep_their_labels(tmp_path):
    labels = np.arange(30, dtype=np.uint8).reshape(5, 6) % 6
    content = pictures.label_map(labels)
    shown = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 6
    (tmp_path / "a.png").write_bytes(content)
    assert (pictures.read(tmp_path / "a.png", (5, 6)) == labels).all()


def test_a_missing_or_mis_sized_picture_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.png is missing"):
        pictures.read(tmp_path / "a.png", (5, 6))
    (tmp_path / "a.png").write_bytes(pictures.label_map(np.zeros((5, 6), np.uint8)))
    with pytest.raises(DataError, match="its mask is"):
        pictures.read(tmp_path / "a.png", (6, 5))


def test_classes_of_bcss_are_told_apart_by_colour():
    """All 22, on paper and beside what is ignored; the first eight as they always were."""
    colours = [pictures.colour(label) for label in range(22)]
    assert tuple(colours[:8]) == pictures.COLOURS
    others = [*colours, (255, 255, 255), (64, 64, 68)]
    for index, one in enumerate(others):
        for other in others[:index]:
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 30
    every = [pictures.colour(label) for label in range(256)]
    assert all(0 <= part <= 255 for fill in every for part in fill)
