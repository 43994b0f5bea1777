import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchbcss.scoring import bits


@st.composite
def masks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.one_of(st.integers(1, 200), st.sampled_from([63, 64, 65, 128])))
    return rng.random((draw(st.integers(1, 40)), width)) < draw(st.sampled_from([0, 0.01, 0.5, 1]))


@settings(max_examples=60, deadline=None)
@given(masks(), st.floats(0, 150))
def test_bits_do_what_pixels_do(mask, radius):
    packed = bits.pack(mask)
    assert bits.count(packed) == mask.sum()
    assert (bits.unpack(packed, mask.shape[1]) == mask).all()
    cross = ndimage.generate_binary_structure(2, 1)
    edge = mask & ~ndimage.binary_erosion(mask, cross)
    assert (bits.unpack(bits.surface(packed), mask.shape[1]) == edge).all()
    near = np.zeros_like(mask)
    if mask.any():
        # squared distances are whole numbers, which float64 holds exactly
        squares = np.rint(ndimage.distance_transform_edt(~mask) ** 2)
        near = squares <= radius**2
    assert (bits.unpack(bits.dilate(packed, radius), mask.shape[1]) == near).all()


@pytest.mark.parametrize("step", [1, 7, 32, 63])
def test_moving(step):
    mask = np.random.default_rng(step).random((3, 150)) < 0.4
    packed = bits.pack(mask)
    for moved, expected in (
        (bits.right(packed, step), np.pad(mask, ((0, 0), (step, 0)))[:, :150]),
        (bits.left(packed, step), np.pad(mask, ((0, 0), (0, step)))[:, step:]),
    ):
        assert (bits.unpack(moved, 150) == expected).all()
