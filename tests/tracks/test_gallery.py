from itertools import pairwise

import numpy as np
import pytest

from benchbcss.contract import IGNORE
from benchbcss.tracks import gallery
from benchbcss.tracks.gallery import FALSE, IGNORED, MISSED, NONE, RIGHT, Scene, picture
from benchbcss.tracks.pictures import colour

NAMES = ("tumor", "stroma", "other")
TARGET = np.array([[0, 0, 1, IGNORE], [1, 2, 2, IGNORE]], np.uint8)
IMAGE = np.full((2, 4, 3), 200, np.uint8)


def test_errors_of_a_label_map():
    found = np.array([[0, 1, 1, 0], [1, 2, 0, 1]], np.uint8)
    scene = Scene.of_labels(IMAGE, TARGET, found, NAMES)
    assert scene.errors().tolist() == [[0, 1, 0, IGNORE], [0, 0, 1, IGNORE]]


def test_errors_of_overlapping_masks():
    tumor = np.array([[1, 0, 1, 1], [0, 1, 0, 0]], bool)
    stroma = np.array([[0, 0, 1, 0], [1, 0, 0, 0]], bool)
    scene = Scene(IMAGE, TARGET, {0: tumor, 1: stroma}, NAMES)
    # found; missed; found, but tumor's mask is there too; the class 'other' was not looked for
    assert scene.errors().tolist() == [[0, 1, 2, IGNORE], [0, 2, 0, IGNORE]]


def test_the_smaller_mask_is_on_top():
    large, small = np.ones((2, 4), bool), np.zeros((2, 4), bool)
    small[0, 0] = True
    shown = Scene(IMAGE, TARGET, {0: small, 1: large}, NAMES).prediction()
    assert tuple(shown[0, 0]) == colour(0)
    assert tuple(shown[1, 3]) == colour(1)
    assert tuple(Scene(IMAGE, TARGET, {}, NAMES).prediction()[0, 0]) == NONE


def panels(page, shape, size):
    """The four panels as drawn, uint8 [4, h, w, 3]: found by the image's own colour."""
    array = np.asarray(page)
    top, left = np.argwhere((array == 200).all(-1))[0]
    height, width = shape
    step = width + gallery.GAP
    return [array[top : top + height, left + i * step : left + i * step + width] for i in range(4)]


def test_a_picture_has_the_four_side_by_side_in_true_colours():
    found = np.array([[0, 1, 1, 0], [1, 2, 2, 1]], np.uint8)
    page = picture(Scene.of_labels(IMAGE, TARGET, found, NAMES), ["a heading"], size=400)
    image, truth, prediction, errors = panels(page, (200, 400), 400)
    centres = (slice(50, None, 100), slice(50, None, 100))
    assert (image == 200).all()
    expected = [
        [colour(0), colour(0), colour(1), IGNORED],
        [colour(1), colour(2), colour(2), IGNORED],
    ]
    assert [[tuple(p) for p in row] for row in truth[centres].tolist()] == expected
    assert tuple(prediction[50, 150]) == colour(1)
    assert [tuple(p) for p in errors[50, 50::100].tolist()] == [RIGHT, MISSED, RIGHT, IGNORED]


def test_the_legend_names_what_is_there_and_nothing_else():
    found = np.zeros((2, 4), np.uint8)
    scene = Scene.of_labels(IMAGE, np.zeros((2, 4), np.uint8), found, NAMES)
    assert gallery._legend(scene) == [("tumor", colour(0)), ("right", RIGHT)]
    wrong = Scene.of_labels(IMAGE, TARGET, found, NAMES)
    assert [name for name, _ in gallery._legend(wrong)] == [*NAMES, "ignored", "right", "wrong"]
    masks = Scene(IMAGE, TARGET, {0: np.ones((2, 4), bool)}, NAMES)
    assert ("false", FALSE) in gallery._legend(masks)


@pytest.mark.parametrize("shape", [(3000, 40), (40, 3000), (1, 1), (9, 7)])
def test_any_shape(shape):
    image, labels = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    page = picture(Scene.of_labels(image, labels, labels, NAMES), ["one", "two"], size=100)
    assert page.height < 400
    assert 640 <= page.width < 700


def test_a_reduced_picture_mixes_no_labels():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, (500, 500)).astype(np.uint8)
    image = np.full((500, 500, 3), 200, np.uint8)
    page = picture(Scene.of_labels(image, target, target, NAMES), [""], size=100)
    _, truth, _, errors = panels(page, (100, 100), 100)
    colours = {tuple(p) for p in truth.reshape(-1, 3).tolist()}
    assert colours == {colour(0), colour(1), colour(2)}
    assert {tuple(p) for p in errors.reshape(-1, 3).tolist()} == {RIGHT}


def test_a_long_legend_is_wrapped():
    names = [f"a_class_of_the_number_{i}" for i in range(20)]
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    image = np.zeros((4, 5, 3), np.uint8)
    short = picture(Scene.of_labels(image, labels % 2, labels % 2, names), ["h"], size=100)
    long = picture(Scene.of_labels(image, labels, labels, names), ["h"], size=100)
    assert long.height > short.height + 60
    assert long.width == short.width


def test_titles_of_small_panels_do_not_meet(monkeypatch):
    written = []
    draw = gallery.ImageDraw.ImageDraw.text

    def text(self, place, words, ink, font):
        written.append((words, place[0], place[0] + font.getlength(words)))
        draw(self, place, words, ink, font)

    monkeypatch.setattr(gallery.ImageDraw.ImageDraw, "text", text)
    target = np.zeros((32, 32), np.uint8)
    scene = Scene.of_labels(np.zeros((32, 32, 3), np.uint8), target, target, ["tumor"])
    picture(scene, ["short"], 32)
    titles = [span for span in written if span[0] in gallery.TITLES]
    assert len(titles) == 4
    for (_, _, end), (_, start, _) in pairwise(titles):
        assert end < start
