"""Closing and filling against scipy, which shares no code with cv2."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchbcss.inference.postprocess import close_fill, grid, postprocess

EIGHT = np.ones((3, 3), bool)


def blobs(seed, shape=(90, 120), share=0.45):
    """Smooth random shapes with holes, some of them at the edge of the image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    return noise > np.quantile(noise, 1 - share)


def closed(mask, size=7):
    """What lies outside the image neither dilates into it nor erodes it, as with cv2."""
    square = np.ones((size, size), bool)
    return ndimage.binary_erosion(ndimage.binary_dilation(mask, square), square, border_value=1)


def polygon(part):
    """Area of the polygon through the centres of a filled part's border pixels: per 2 x 2 window
    1 where all four are in, 1/2 where three are."""
    wide = np.pad(part, 1).astype(int)
    four = wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:]
    return (four == 4).sum() + (four == 3).sum() / 2


def parts(mask):
    """Every component, its holes filled."""
    labels, count = ndimage.label(mask, EIGHT)
    return [ndimage.binary_fill_holes(labels == n) for n in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_equals_scipy_on_random_shapes(seed, share):
    mask = blobs(seed, share=share)
    inner = np.zeros_like(mask)
    inner[8:-8, 8:-8] = mask[8:-8, 8:-8]  # away from the edge, it is scipy's own closing
    assert (closed(inner) == ndimage.binary_closing(inner, np.ones((7, 7), bool))).all()
    candidates = sorted(parts(closed(mask)), key=polygon)
    best = [part for part in candidates if polygon(part) == polygon(candidates[-1])]
    found = close_fill(mask)
    assert any((found == part).all() for part in best)
    assert found.dtype == bool


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.98))
def test_what_is_kept_is_one_part_without_holes(seed, share):
    found = close_fill(blobs(seed, (40, 60), share))
    _, count = ndimage.label(found, EIGHT)
    assert count == 1
    assert (ndimage.binary_fill_holes(found) == found).all()
    assert (close_fill(found) >= found).all()


def test_a_gap_of_six_is_closed_and_one_of_seven_is_not():
    for gap, joined in ((6, True), (7, False)):
        mask = np.zeros((40, 80), bool)
        mask[10:30, 5:30] = mask[10:30, 30 + gap : 60] = True
        found = close_fill(mask)
        assert found[20, 35] == joined
        assert found[:, 50].any() == joined  # the smaller part, else dropped


def test_the_largest_contour_counts_what_it_encloses():
    """A thin ring encloses more than a blob of more pixels."""
    rows, columns = np.mgrid[:100, :160]
    radius = np.hypot(rows - 50, columns - 50)
    mask = (radius < 40) & (radius > 38)
    mask[20:60, 110:150] = True
    assert mask[:, 110:].sum() > mask[:, :100].sum()
    found = close_fill(mask)
    assert found[50, 50]
    assert not found[:, 110:].any()


def test_an_island_in_a_hole_is_filled_over():
    mask = np.zeros((80, 80), bool)
    mask[10:70, 10:70] = True
    mask[20:60, 20:60] = False
    mask[38:42, 38:42] = True
    expected = np.zeros((80, 80), bool)
    expected[10:70, 10:70] = True
    assert (close_fill(mask) == expected).all()


def test_nothing_stays_nothing_and_all_stays_all():
    assert not close_fill(np.zeros((30, 40), bool)).any()
    assert close_fill(np.ones((30, 40), bool)).all()
    single = np.zeros((30, 40), bool)
    single[0, 39] = True
    assert (close_fill(single) == single).all()


def test_it_is_done_on_the_briefs_square_and_brought_back():
    """7 px of 1024: 1 px of an ROI of 128 px is 8 of them, too wide a gap to be closed."""
    shape = (64, 128)
    assert grid("close_fill", shape) == (1024, 1024)
    assert grid("none", shape) == grid("largest", shape) == shape
    small = np.zeros(shape, bool)
    small[10:40, 10:60] = True
    small[10:40, 61:90] = True
    square = np.kron(small, np.ones((16, 8), bool))
    found = postprocess(square, "close_fill", shape)
    expected = small.copy()
    expected[:, 60:] = False  # the gap of 8 px of the square is too wide
    assert (found == expected).all()
    square[:, 60 * 8 : 60 * 8 + 2] |= square[:, 59 * 8 : 59 * 8 + 2]  # leaves 6 px
    expected[10:40, 60:90] = True
    assert (postprocess(square, "close_fill", shape) == expected).all()


def test_the_other_two():
    mask = blobs(3)
    assert postprocess(mask, "none", mask.shape) is mask
    labels, _ = ndimage.label(mask, EIGHT)
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    assert (postprocess(mask, "largest", mask.shape) == largest).all()
