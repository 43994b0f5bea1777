from collections import deque

import label_maps
import numpy as np
import pytest
import reference_scoring
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchbcss.scoring import runs
from benchbcss.scoring.components import bin_of, match_objects, summarise
from benchbcss.scoring.threads import alone

MPP = 5.0  # 25 um^2 a pixel: 50 um^2 are two pixels


def flood(labels, classes):
    """Components by breadth-first search: [(label, set of pixels)]."""
    found, seen = [], set()
    for start in np.ndindex(labels.shape):
        if start in seen or labels[start] not in classes:
            continue
        pixels, queue = {start}, deque([start])
        while queue:
            r, c = queue.popleft()
            for step in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)):
                near = (r + step[0], c + step[1])
                inside = 0 <= near[0] < labels.shape[0] and 0 <= near[1] < labels.shape[1]
                if inside and near not in pixels and labels[near] == labels[start]:
                    pixels.add(near)
                    queue.append(near)
        seen |= pixels
        found.append((int(labels[start]), pixels))
    return found


def slow(target, prediction, classes, mpp):
    """The definitions, word by word, over sets of pixels."""
    ignored = {tuple(p) for p in np.argwhere(target == 255)}
    true = [(k, p) for k, p in flood(target, classes) if len(p) * mpp**2 >= 50]
    found = []
    for k, pixels in flood(prediction, classes):
        known = pixels - ignored
        if len(known) * mpp**2 >= 50 and len(pixels - known) <= len(pixels) / 2:
            found.append((k, known))
    rows = []
    for k, pixels in true:
        same = [q for j, q in found if j == k]
        painted = {tuple(p) for p in np.argwhere(prediction == k)}
        rows.append(
            (
                k,
                len(pixels),
                any(len(pixels & q) / len(pixels | q) > 0.5 for q in same),
                len(pixels & painted) / len(pixels),
                sum(len(pixels & q) >= 0.1 * len(q) for q in same),
            )
        )
    others = []
    for k, pixels in found:
        same = [q for j, q in true if j == k]
        others.append(
            (
                k,
                len(pixels),
                any(len(pixels & q) / len(pixels | q) > 0.5 for q in same),
                sum(len(pixels & q) >= 0.1 * len(q) for q in same),
            )
        )
    return sorted(rows), sorted(others)


def fast(target, prediction, classes, mpp):
    true, found = match_objects(target, prediction, classes, mpp)
    return (
        sorted(
            zip(
                true.label.tolist(),
                true.area.tolist(),
                true.matched.tolist(),
                true.covered.tolist(),
                true.counterparts.tolist(),
                strict=True,
            )
        ),
        sorted(
            zip(
                found.label.tolist(),
                found.area.tolist(),
                found.matched.tolist(),
                found.counterparts.tolist(),
                strict=True,
            )
        ),
    )


def maps(seed, size=40, smooth=1.5):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.standard_normal((4, size, size)), (0, smooth, smooth))
    target = fields.argmax(0).astype(np.uint8)
    noisy = fields + 0.4 * ndimage.gaussian_filter(rng.standard_normal(fields.shape), (0, 1, 1))
    prediction = noisy.argmax(0).astype(np.uint8)
    target[rng.integers(0, size, 30), rng.integers(0, size, 30)] = 255
    target[:, :6] = 255
    return target, prediction


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("smooth", [0.4, 1.5, 3.0])
def test_equals_an_independent_slow_implementation(seed, smooth):
    target, prediction = maps(seed, smooth=smooth)
    ours, expected = (f(target, prediction, (0, 1, 2), MPP) for f in (fast, slow))
    for mine, theirs in zip(ours, expected, strict=True):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            assert a == pytest.approx(b)


def drawn():
    """One of each: matched, split, merged, missed, false, too small, mostly ignored."""
    target, prediction = np.full((60, 60), 3, np.uint8), np.full((60, 60), 3, np.uint8)
    target[2:12, 2:12] = prediction[3:13, 2:12] = 0  # matched: IoU 90 / 110
    target[20:30, 2:22] = 0  # split in two halves: neither is above one half
    prediction[20:30, 2:11] = prediction[20:30, 13:22] = 0
    target[40:50, 2:10] = target[40:50, 12:20] = 0  # two, merged into one
    prediction[40:50, 2:20] = 0
    target[2:6, 40:44] = 0  # missed
    prediction[50:56, 40:46] = 0  # false
    prediction[30, 50] = 0  # one pixel: too small
    target[14:18, 40:60] = 255
    prediction[14:18, 50:54] = 0  # wholly ignored
    return target, prediction


def test_a_case_by_hand():
    target, prediction = drawn()
    objects = match_objects(target, prediction, (0,), MPP)
    known = int((target != 255).sum())
    found = summarise([objects], [known], np.array([True]), 0, MPP)
    assert (found["truth"], found["predicted"], found["matched"]) == (5, 5, 1)
    assert found["recall"] == pytest.approx(1 / 5)
    assert found["precision"] == pytest.approx(1 / 5)
    assert found["f1"] == pytest.approx(1 / 5)
    assert (found["splits"], found["merges"]) == (1, 1)
    assert found["recall_covered_half"] == pytest.approx(4 / 5)  # all but the missed one
    assert found["false_per_mm2"] == pytest.approx(4 / (known * 25e-6))
    by_size = found["recall_by_size_um2"]
    # 16 px = 400, 80 px = 2 000, 100 px = 2 500, 200 px = 5 000 um^2
    assert [by_size[name]["truth"] for name in by_size] == [1, 0, 4, 0]
    assert found["clean_rois_without_class"] == {"clean": 0, "of": 0}


def test_size_bins():
    sizes = np.array([499.9, 500, 1999.9, 2000, 10_000, 10_000.1])
    assert bin_of(sizes, 1.0).tolist() == [0, 1, 1, 2, 2, 3]


def test_rois_without_the_class_that_stay_clean():
    empty = np.full((20, 20), 3, np.uint8)
    wrong = empty.copy()
    wrong[2:9, 2:9] = 0
    rois = [match_objects(empty, p, (0,), MPP) for p in (empty, wrong)]
    found = summarise(rois, [400, 400], np.array([False, False]), 0, MPP)
    assert found["clean_rois_without_class"] == {"clean": 1, "of": 2}
    assert found["recall"] is None
    assert found["precision"] == 0


def test_perfect_and_diagonal_neighbours():
    target = np.full((30, 30), 3, np.uint8)
    for step in range(10):
        target[2 * step : 2 * step + 2, 2 * step : 2 * step + 2] = 1  # touching at corners only
    true, found = match_objects(target, target, (0, 1), MPP)
    assert true.label.tolist() == found.label.tolist() == [1]
    assert true.matched.all()
    assert true.covered.tolist() == [1]


@pytest.mark.slow
def test_twenty_megapixels_in_seconds():
    """Timed against a plain copy of the maps, since machines differ: measured 250 copies."""
    import time

    target, prediction = (np.kron(m, np.ones((112, 112), np.uint8)) for m in maps(0, smooth=2.0))
    assert target.size > 20e6
    begun = time.perf_counter()
    for _ in range(5):
        target.copy(), prediction.copy()
    copy = (time.perf_counter() - begun) / 5
    begun = time.perf_counter()
    match_objects(target, prediction, range(5), 0.3)
    assert time.perf_counter() - begun < 600 * copy


def same(ours, theirs):
    """Equal columns of equal types, in one order."""
    for mine, other in zip(ours, theirs, strict=True):
        for name, column in vars(other).items():
            assert getattr(mine, name).dtype == column.dtype, name
            assert getattr(mine, name).tolist() == column.tolist(), name
    return True


@settings(max_examples=120, deadline=None)
@given(label_maps.pairs(), st.permutations([0, 1, 2, 3, 9]), st.sampled_from([0, 10**6]))
def test_objects_and_their_order_are_those_of_labels_class_by_class(maps, classes, dense):
    """By runs (0) as well as by pixels, whichever the map would be given to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_DENSE", dense)
        ours = match_objects(*maps, classes[:4], MPP)
    assert same(ours, reference_scoring.match_objects(*maps, classes[:4], MPP))


@pytest.mark.parametrize("smooth", [0, 1, 20])
def test_objects_of_larger_maps_and_on_threads(smooth):
    rng = np.random.default_rng(smooth)
    maps = (
        label_maps.drawn(rng, (1100, 1000), smooth, 0.001),
        label_maps.drawn(rng, (1100, 1000), smooth),
    )
    ours = match_objects(*maps, (2, 0, 1), MPP)
    assert same(ours, reference_scoring.match_objects(*maps, (2, 0, 1), MPP))
    with alone():
        assert same(match_objects(*maps, (2, 0, 1), MPP), ours)


def test_the_last_run_is_joined_over_all_its_pixels(monkeypatch):
    monkeypatch.setattr(runs, "_DENSE", 0)  # by runs, however small the map
    target = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [2, 1, 1, 1]], np.uint8)
    true, _ = match_objects(target, target, (1,), MPP)
    assert true.area.tolist() == [7]
