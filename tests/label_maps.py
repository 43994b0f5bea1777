"""Label maps to score: tissue-like, noisy, tiny, with ignored pixels, empty and absent classes."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import strategies as st

LABELS = (0, 1, 2, 3)


def drawn(rng, shape, smooth, ignored=0.0, labels=LABELS):
    """Regions about ``smooth`` pixels wide (0: noise), a share ``ignored`` of them at random."""
    fields = rng.standard_normal((len(labels), *shape)).astype(np.float32)
    if smooth:
        fields = np.stack([cv2.GaussianBlur(field, (0, 0), smooth) for field in fields])
    drawn_map = np.array(labels, np.uint8)[fields.argmax(0)]
    if ignored:
        drawn_map[rng.random(shape) < ignored] = 255
    return drawn_map


@st.composite
def pairs(draw, most=70):
    """(target, prediction) uint8 [H, W] from 1 x 1 on, around the widths at which words of bits
    end."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sides = st.one_of(st.integers(1, most), st.sampled_from([1, 2, 63, 64, 65, 127, 128, 129]))
    shape = draw(sides), draw(sides)
    smooth = st.sampled_from([0, 0.7, 3, 12])
    labels = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4, unique=True))
    ignored = draw(st.sampled_from([0, 0, 0.01, 0.3, 1]))
    target = drawn(rng, shape, draw(smooth), ignored, labels)
    if draw(st.booleans()):
        target[: shape[0] // 2, : draw(st.integers(0, shape[1]))] = 255
    if draw(st.booleans()):  # nearly right: the truth, moved
        moved = np.roll(target, draw(st.tuples(st.integers(0, 4), st.integers(0, 4))), (0, 1))
        return target, np.where(moved == 255, labels[0], moved).astype(np.uint8)
    return target, drawn(rng, shape, draw(smooth))
