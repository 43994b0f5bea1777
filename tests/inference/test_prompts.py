import numpy as np
import pytest
from scipy import ndimage

from benchbcss.contract import SCOPES, STRATEGIES, Prompting
from benchbcss.inference.prompts import (
    BOX_CLASS,
    covered,
    keep_largest,
    make_prompts,
)
from benchbcss.inference.views import squash, squash_labels


def test_tight_boxes_scaled_to_the_view():
    target = np.full((20, 40), 255, np.uint8)
    target[4:8, 10:30] = 1
    target[15, 0] = 0
    # class 2 is absent: not prompted
    first, second = make_prompts(target, (0, 1, 2), 100, BOX_CLASS)
    assert (first.class_index, first.box) == (0, (0.0, 75.0, 2.5, 80.0))
    assert (second.class_index, second.box) == (1, (25.0, 20.0, 75.0, 40.0))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("scope", SCOPES)
def test_ignored_pixels_give_no_prompt(strategy, scope):
    target = np.full((32, 32), 255, np.uint8)
    assert make_prompts(target, (0, 1), 32, Prompting(strategy, scope)) == []


def shapes():
    """A ring, a square and a speck of class 0; the ring is the largest component."""
    rows, columns = np.mgrid[:100, :120]
    radius = np.hypot(rows - 50, columns - 40)
    target = np.full((100, 120), 1, np.uint8)
    target[(radius < 35) & (radius > 20)] = 0
    target[60:80, 90:110] = 0
    target[5:8, 100:103] = 0
    return target


def at(target, prompt, size=200):
    """Labels of the pixels that a prompt's points lie on."""
    height, width = target.shape
    return [target[int(y * height / size), int(x * width / size)] for x, y in prompt.points]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("strategy", ["centroid", "points5"])
def test_positive_points_lie_in_the_mask(strategy, scope):
    target = shapes()
    prompts = make_prompts(target, (0,), 200, Prompting(strategy, scope))
    assert len(prompts) == (2 if scope == "components" else 1)  # the speck is too small
    for prompt in prompts:
        assert prompt.box is None
        assert len(prompt.points) == (1 if strategy == "centroid" else 5)
        assert set(prompt.point_labels) == {1}
        assert at(target, prompt) == [0] * len(prompt.points)


def test_the_centroid_of_a_ring_is_moved_into_it():
    target = shapes()
    (prompt,) = make_prompts(target, (0,), 120, Prompting("centroid", "largest"))
    ((x, y),) = prompt.points
    assert 19 < np.hypot(x - 40.5, y * 100 / 120 - 50.5) < 23  # the inner rim is nearest


def test_five_points_spread_and_keep_from_the_rim():
    target = shapes()
    (prompt,) = make_prompts(target, (0,), 120, Prompting("points5", "largest"))
    points = np.array(prompt.points) * [1, 100 / 120]
    radius = np.hypot(*(points - [40.5, 50.5]).T)
    assert ((radius > 22) & (radius < 33)).all()
    gaps = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    assert gaps[~np.eye(5, dtype=bool)].min() > 20


def test_negative_points_lie_10_px_outside_and_are_seeded_by_roi_and_class():
    target = shapes()
    prompting = Prompting("box_neg", "class")
    (prompt,) = make_prompts(target, (0,), 120, prompting, "a")
    assert prompt.box is not None
    assert prompt.point_labels == (0,) * 5
    distance = ndimage.distance_transform_edt(target != 0)
    for x, y in prompt.points:
        assert abs(distance[int(y * 100 / 120), int(x)] - 10) <= 0.5
    assert make_prompts(target, (0,), 120, prompting, "a") == [prompt]
    assert make_prompts(target, (0,), 120, prompting, "b") != [prompt]


def test_no_room_outside_is_no_negative_point():
    (prompt,) = make_prompts(np.zeros((40, 40), np.uint8), (0,), 64, Prompting("box_neg", "class"))
    assert prompt.points == ()


def test_scopes_and_their_ceiling():
    target = shapes()
    mask = target == 0
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())[1:]
    assert covered(mask, "class") == mask.sum()
    assert covered(mask, "largest") == areas.max()
    assert covered(mask, "components") == areas[areas >= 256].sum()
    assert (keep_largest(mask) == (labels == 1 + areas.argmax())).all()
    boxes = {
        scope: [p.box for p in make_prompts(target, (0,), 120, Prompting("box", scope))]
        for scope in SCOPES
    }
    assert len(boxes["components"]) == 2
    assert boxes["largest"][0] in boxes["components"]
    assert boxes["class"] != boxes["largest"]


def test_long_masks_are_thinned_and_stay_inside():
    target = np.ones((64, 5000), np.uint8)
    target[20:40, 100:4900] = 0
    for strategy in ("points5", "box_neg"):
        (prompt,) = make_prompts(target, (0,), 5000, Prompting(strategy, "class"))
        inside = np.array(at(target, prompt, 5000)) == 0
        assert len(inside) == 5
        assert inside.all() if strategy == "points5" else not inside.any()
    target[:] = 1
    target[31, 2001] = 0  # one pixel, between those that thinning looks at
    (prompt,) = make_prompts(target, (0,), 5000, Prompting("points5", "class"))
    assert at(target, prompt, 5000) == [0]


@pytest.mark.parametrize("key", ["box-class", "points5-components-tta"])
def test_keys(key):
    assert Prompting.parse(key).key == key


@pytest.mark.parametrize("key", ["box", "box-all", "circle-class", "box-class-tta-x", ""])
def test_misspelt_keys(key):
    with pytest.raises(ValueError, match="is not a prompting such as box-class"):
        Prompting.parse(key)


def test_squashing_averages_areas_and_keeps_labels():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 200
    assert (squash(image, 4)[:2] == 200).all()
    labels = np.arange(4, dtype=np.uint8).reshape(2, 2)
    assert (squash_labels(labels, (4, 6)) == np.kron(labels, np.ones((2, 3), int))).all()
