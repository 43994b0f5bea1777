import label_maps
import numpy as np
import pytest
import reference_scoring
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchbcss.scoring import boundary
from benchbcss.scoring.boundary import surface_counts, without_border
from benchbcss.scoring.threads import alone


def maps(seed, size=60, pad=0):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.standard_normal((3, size, size)), (0, 4, 4))
    noisy = fields + 0.3 * ndimage.gaussian_filter(rng.standard_normal(fields.shape), (0, 2, 2))
    target, prediction = fields.argmax(0).astype(np.uint8), noisy.argmax(0).astype(np.uint8)
    if pad:
        target, prediction = (np.pad(m, pad, constant_values=2) for m in (target, prediction))
    return target, prediction


def slow(target, prediction, classes, tolerance):
    """By exact distance transforms."""
    cross = ndimage.generate_binary_structure(2, 1)

    def surface(mask):
        return mask & ~ndimage.binary_erosion(mask, cross)

    unknown = np.pad(target == 255, 1, constant_values=True)
    counted = ndimage.distance_transform_edt(~unknown)[1:-1, 1:-1] > tolerance
    rows = []
    for label in classes:
        true, found = surface(target == label), surface(prediction == label)
        row = []
        for own, other in ((true, found), (found, true)):
            own = own & counted
            far = np.inf if not other.any() else ndimage.distance_transform_edt(~other)
            row += [own.sum(), (own & (far <= tolerance)).sum()]
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tolerance", [1.0, 2.5, 5 / 0.3])
def test_equals_exact_distances(seed, tolerance):
    target, prediction = maps(seed, 120)
    target[40:50, 60:90] = 255
    ours = surface_counts(target, prediction, (0, 1), tolerance)
    assert ours.tolist() == slow(target, prediction, (0, 1), tolerance)
    assert ours.dtype == np.int64


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(4))
def test_equals_monai_away_from_edges(seed):
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    import torch

    target, prediction = maps(seed, pad=20)
    tolerance = 3.0
    counts = surface_counts(target, prediction, (0, 1), tolerance)
    ours = (counts[:, 1] + counts[:, 3]) / (counts[:, 0] + counts[:, 2])
    one_hot = [torch.from_numpy(np.eye(3)[m]).permute(2, 0, 1)[None] for m in (prediction, target)]
    theirs = metrics.compute_surface_dice(
        *one_hot, class_thresholds=[tolerance] * 3, include_background=True
    )
    assert ours == pytest.approx(theirs[0, :2].numpy(), abs=1e-6)  # it answers in float32


def test_a_shift_within_and_beyond_the_tolerance():
    target, near, far = (np.ones((80, 80), np.uint8) for _ in range(3))
    target[30:50, 30:50] = near[32:52, 30:50] = far[36:56, 30:50] = 0
    assert surface_counts(target, target, (0,), 2.0)[0].tolist() == [76, 76, 76, 76]
    assert surface_counts(target, near, (0,), 2.0)[0].tolist() == [76, 76, 76, 76]
    counts = surface_counts(target, far, (0,), 2.0)[0]
    assert counts[1] < counts[0]


def test_absent_and_edges():
    target, prediction = np.full((40, 40), 1, np.uint8), np.full((40, 40), 1, np.uint8)
    prediction[15:25, 15:25] = 0
    assert surface_counts(target, prediction, (0,), 2.0)[0].tolist() == [0, 0, 36, 0]
    target[:, :20] = 0  # its surface at the image's edge does not count
    true = surface_counts(target, prediction, (0,), 2.0)[0][0]
    assert true == 40 - 2 * 2


@pytest.mark.parametrize("tolerance", [1.0, 3.5])
def test_the_band_is_what_lies_near_a_border(tolerance):
    target, _ = maps(0)
    target[5:9, 5:30] = 255
    border = np.zeros(target.shape, bool)
    for axis in (0, 1):
        change = np.diff(target.astype(int), axis=axis) != 0
        for shift in (0, 1):
            area = [slice(None)] * 2
            area[axis] = slice(shift, target.shape[axis] - 1 + shift)
            border[tuple(area)] |= change
    near = ndimage.distance_transform_edt(~border) <= tolerance
    found = without_border(target, tolerance)
    assert ((found == 255) == (near | (target == 255))).all()
    assert (found[~near] == target[~near]).all()


@settings(max_examples=80, deadline=None)
@given(label_maps.pairs(), st.sampled_from([0.0, 0.5, 1.0, 1.5, 5 / 3, 5 / 0.3, 64.0, 70.2]))
def test_surfaces_and_bands_are_those_of_dilated_maps(maps, tolerance):
    target, prediction = maps
    ours = surface_counts(target, prediction, (3, 0, 1, 2, 7), tolerance)
    theirs = reference_scoring.surface_counts(target, prediction, (3, 0, 1, 2, 7), tolerance)
    assert ours.tolist() == theirs.tolist()
    band = without_border(target, tolerance)
    assert (band == reference_scoring.without_border(target, tolerance)).all()
    assert band.dtype == np.uint8


@pytest.mark.parametrize("shape", [(255, 40), (256, 40), (257, 65), (700, 129)])
@pytest.mark.parametrize("smooth", [0, 9])
@pytest.mark.parametrize("rows", [3, 64, 256, 1024])
def test_strips_meet_without_a_seam(shape, smooth, rows, monkeypatch):
    monkeypatch.setattr(boundary, "_ROWS", rows)
    rng = np.random.default_rng(shape[0])
    target = label_maps.drawn(rng, shape, smooth, ignored=0.0005)
    prediction = label_maps.drawn(rng, shape, smooth)
    arguments = target, prediction, (0, 1, 2, 3), 16.7
    ours, theirs = surface_counts(*arguments), reference_scoring.surface_counts(*arguments)
    assert ours.tolist() == theirs.tolist()
    assert (without_border(target, 16.7) == reference_scoring.without_border(target, 16.7)).all()


def test_threads_and_arrays_in_another_order_change_nothing(monkeypatch):
    monkeypatch.setattr(boundary, "_ROWS", 256)
    monkeypatch.setattr(boundary, "_THREADED", 0)
    rng = np.random.default_rng(0)
    target, prediction = (label_maps.drawn(rng, (700, 500), 6) for _ in range(2))
    expected = surface_counts(target, prediction, (0, 1), 5.0)
    with alone():
        assert (surface_counts(target, prediction, (0, 1), 5.0) == expected).all()
    columns = np.asfortranarray(target)
    assert (surface_counts(columns, prediction, (0, 1), 5.0) == expected).all()
    assert (without_border(columns, 5.0) == without_border(target, 5.0)).all()
