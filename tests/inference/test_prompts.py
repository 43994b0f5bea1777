import hashlib

import label_maps
import numpy as np
import pytest
import reference_prompts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from benchbcss.contract import ALL_STRATEGIES, BOX_CLASS, SCOPES, STRATEGIES, Prompting
from benchbcss.inference import prompts
from benchbcss.inference.prompts import all_prompts, covered, keep_largest, make_prompts
from benchbcss.inference.views import squash, squash_labels


def test_tight_boxes_scaled_to_the_view():
    target = np.full((20, 40), 255, np.uint8)
    target[4:8, 10:30] = 1
    target[15, 0] = 0
    # class 2 is absent: not prompted
    first, second = make_prompts(target, (0, 1, 2), 100, BOX_CLASS)
    assert (first.class_index, first.box) == (0, (0.0, 75.0, 2.5, 80.0))
    assert (second.class_index, second.box) == (1, (25.0, 20.0, 75.0, 40.0))


@pytest.mark.parametrize("strategy", ALL_STRATEGIES)
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


#: of the prompts that commit f8cfb8b, before box_neg_outer, made of ``shapes()``
STORED = {
    "centroid-largest": "380c5fa1ac6b3161",
    "centroid-class": "fc0367dff9694d7b",
    "centroid-components": "e0c5ffb7fef619f9",
    "points5-largest": "7037b76e07e81628",
    "points5-class": "3e342c91a656d11a",
    "points5-components": "73f24cfadb29e2ef",
    "box-largest": "bf759b7305964d03",
    "box-class": "f238dde07f66c6da",
    "box-components": "6b2e2cf2fdeecb90",
    "box_neg-largest": "6b8aec1902eb1f9f",
    "box_neg-class": "90a32bc95a1be9e4",
    "box_neg-components": "3c55460e8aa02a97",
}


def test_older_strategies_make_the_prompts_they_made():
    """Results under prompt version 2 stay comparable."""
    assert set(STORED) == {f"{strategy}-{scope}" for strategy in STRATEGIES for scope in SCOPES}
    for key, digest in STORED.items():
        made = [
            (
                prompt.class_index,
                prompt.box and tuple(round(edge, 6) for edge in prompt.box),
                [tuple(round(value, 6) for value in point) for point in prompt.points],
                prompt.point_labels,
            )
            for prompt in make_prompts(shapes(), (0, 1), 200, Prompting.parse(key), "a")
        ]
        assert hashlib.sha256(repr(made).encode()).hexdigest()[:16] == digest, key


def outer(target, size=1024, scope="largest", roi="a"):
    (prompt,) = make_prompts(target, (0,), size, Prompting("box_neg_outer", scope), roi)
    return prompt


def beyond(box, x, y):
    """How far (x, y) lies outside a box, along the axis on which it is further."""
    return max(box[0] - x, x - box[2], box[1] - y, y - box[3])


@pytest.mark.parametrize("scope", ["largest", "class"])
@pytest.mark.parametrize(("size", "distance"), [(1024, 10), (512, 5), (64, 0.625)])
def test_outer_negatives_lie_10_px_outside_the_box_in_the_briefs_square(scope, size, distance):
    for seed in range(20):
        prompt = outer(shapes(), size, scope, f"roi{seed}")
        assert prompt.point_labels == (0,) * 5
        assert len(set(prompt.points)) == 5
        for x, y in prompt.points:
            assert beyond(prompt.box, x, y) == pytest.approx(distance)
            assert 0 <= x < size
            assert 0 <= y < size


def test_outer_negatives_are_the_box_of_the_scope_and_seeded_by_roi_and_class():
    target = shapes()
    (plain,) = make_prompts(target, (0,), 1024, Prompting("box", "largest"))
    assert outer(target).box == plain.box
    assert outer(target) == outer(target)
    assert outer(target).points != outer(target, roi="b").points
    swapped = np.where(target == 0, 1, 0).astype(np.uint8)
    (other,) = make_prompts(swapped, (1,), 1024, Prompting("box_neg_outer", "largest"), "a")
    assert other.box == plain.box
    assert other.points != outer(target).points


def test_outer_negatives_keep_away_from_the_box_alone():
    """Another part of the class may be hit, as the authors' could: a frame around a blob."""
    target = np.full((256, 256), 1, np.uint8)
    target[100:160, 100:160] = 0
    target[96:99, 90:170] = target[161:164, 90:170] = 0  # 2.5 px of 256 are 10 of 1024
    target[90:170, 96:99] = target[90:170, 161:164] = 0
    target[99, :] = target[160, :] = target[:, 99] = target[:, 160] = 1
    assert 0 in at(target, outer(target), 1024)


def test_outer_negatives_stay_in_the_image_and_spread_over_what_is_in_it():
    target = np.full((128, 128), 1, np.uint8)
    target[:64, 32:96] = 0  # touches the upper edge: no line above it
    points = [point for n in range(400) for point in outer(target, roi=f"r{n}").points]
    left, right, below = 256 - 10, 768 + 10, 512 + 10
    sides = [
        sum(x == pytest.approx(left) for x, _ in points),
        sum(x == pytest.approx(right) for x, _ in points),
        sum(y == pytest.approx(below) for _, y in points),
    ]
    assert sum(sides) == len(points) == 2000
    lengths = np.array([below, below, right - left])
    assert stats.chisquare(sides, 2000 * lengths / lengths.sum()).pvalue > 1e-4
    along = [y / below for x, y in points if x == pytest.approx(left)]
    assert stats.kstest(along, "uniform").pvalue > 1e-4


def test_a_box_as_large_as_the_image_has_no_outer_negatives():
    prompt = outer(np.zeros((40, 40), np.uint8))
    assert (prompt.box, prompt.points, prompt.point_labels) == ((0, 0, 1024, 1024), (), ())


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


@pytest.mark.parametrize("key", ["box-class", "points5-components-tta", "box_neg_outer-largest"])
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


EVERY = [Prompting(strategy, scope) for strategy in ALL_STRATEGIES for scope in SCOPES]


def same_as_before(target, size, classes=(1, 0, 2, 3, 8)):
    made = all_prompts(target, classes, size, EVERY, "roi")
    for prompting in EVERY:
        expected = reference_prompts.make_prompts(target, classes, size, prompting, "roi")
        assert made[prompting.strategy, prompting.scope] == expected, prompting.key
        assert make_prompts(target, classes, size, prompting, "roi") == expected


@settings(max_examples=25, deadline=None)
@given(label_maps.pairs(), st.sampled_from([32, 100]))
def test_prompts_are_those_of_each_region_measured_anew(maps, size):
    same_as_before(maps[0], size)


@pytest.mark.parametrize("longest", [2048, 150, 40, 25])
@pytest.mark.parametrize("smooth", [2, 25])
def test_prompts_of_larger_and_of_thinned_masks_too(monkeypatch, longest, smooth):
    for module in (prompts, reference_prompts):
        monkeypatch.setattr(module, "_LONGEST", longest)
    target = label_maps.drawn(np.random.default_rng(smooth), (310, 275), smooth, 0.002)
    same_as_before(target, 1024)


def test_a_region_is_measured_once(monkeypatch):
    measured = []
    for name in ("_farthest", "_line"):
        original = getattr(prompts, name)

        def counting(region, original=original, name=name):
            measured.append((name, region.mask.shape, region.top, region.left))
            return original(region)

        monkeypatch.setattr(prompts, name, counting)
    target = np.full((90, 200), 255, np.uint8)
    target[10:40, 20:70] = target[50:80, 100:130] = 0
    all_prompts(target, (0, 1), 128, EVERY)
    # the class, and its two components, of which one is the largest as well
    assert len(measured) == len(set(measured)) == 2 * 3
