"""Boundaries: normalised surface Dice at a tolerance, and the band around true borders.

A surface element is a pixel of a class with one of its four neighbours outside the class (outside
the image counts). Distances are Euclidean between pixel centres. Elements within the tolerance of
an ignored pixel or of the image's edge are left out on both sides: there the border is the
annotation's, not the tissue's.

Maps are read in strips of rows, each with the rows within reach above and below it. A strip's masks
are bits and stay in the cache; strips are independent, so threads share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from benchbcss.contract import IGNORE
from benchbcss.scoring import bits
from benchbcss.scoring.threads import on_threads

TOLERANCE_UM = 5.0

# Of a strip, at most. With fewer, its surroundings are read too often, and passes are so short that
# threads wait for one another; with more, a pass leaves the cache (512 to 1 536 measured alike).
_ROWS = 1024
_THREADED = 1 << 22  # pixels; with fewer, threads wait longer than they save (measured)


def surface_counts(
    target: np.ndarray, prediction: np.ndarray, classes: Sequence[int], tolerance: float
) -> np.ndarray:
    """int64 [C, 4]: true elements, those with a predicted one within ``tolerance`` px, predicted
    elements, those with a true one within it. Maps are uint8 [H, W]."""

    def count(strip: _Strip) -> np.ndarray:
        return strip.surface_counts(target, prediction, classes, tolerance)

    counts = np.zeros((len(classes), 4), np.int64)
    for part in on_threads(count, _strips(target.shape, tolerance), target.size > _THREADED):
        counts += part
    return counts


def without_border(target: np.ndarray, tolerance: float) -> np.ndarray:
    """``target`` with every pixel ignored that is within ``tolerance`` px of a border."""
    inner = np.empty_like(target, order="C")

    def fill(strip: _Strip) -> None:
        inner[strip.top : strip.bottom] = strip.without_border(target, tolerance)

    for _ in on_threads(fill, _strips(target.shape, tolerance), target.size > _THREADED):
        pass
    return inner


class _Strip:
    """Rows ``top`` to ``bottom`` of a map of ``shape``, read with those around them that reach into
    them; ``rows`` are the strip's own among these."""

    def __init__(self, top: int, bottom: int, shape: tuple[int, ...], reach: int) -> None:
        self.height, self.width = shape
        self.top, self.bottom = top, bottom
        # One more than the reach: elements of a first or last row that is read cannot be told.
        self.first = max(0, top - reach - 1)
        self.last = min(self.height, self.bottom + reach + 1)
        self.rows = slice(top - self.first, self.bottom - self.first)

    def surface_counts(
        self, target: np.ndarray, prediction: np.ndarray, classes: Sequence[int], tolerance: float
    ) -> np.ndarray:
        counts = np.zeros((len(classes), 4), np.int64)
        true, predicted = target[self.first : self.last], prediction[self.first : self.last]
        counted = self._counted(true, tolerance)
        for row, label in zip(counts, classes, strict=True):
            surfaces = [self._surface(part == label) for part in (true, predicted)]
            for side, (counting, other) in enumerate((surfaces, surfaces[::-1])):
                kept = counting[self.rows] & counted
                row[2 * side] = bits.count(kept)
                if row[2 * side] and other.any():
                    row[2 * side + 1] = self._near(kept, other, tolerance)
        return counts

    def without_border(self, target: np.ndarray, tolerance: float) -> np.ndarray:
        labels = target[self.first : self.last]
        change = np.zeros(labels.shape, bool)  # from a pixel to the next one in its row
        np.not_equal(labels[:, 1:], labels[:, :-1], out=change[:, :-1])
        border = bits.pack(change)
        border |= bits.right(border, 1)
        down = bits.pack(labels[1:] != labels[:-1])
        border[1:] |= down
        border[:-1] |= down
        strip = labels[self.rows]
        if not border.any():
            return strip
        band = np.ascontiguousarray(bits.dilate(border, tolerance)[self.rows])
        inner = bits.unpack(band, self.width)
        np.negative(inner, out=inner)  # 1 becomes 255, which is IGNORE
        inner |= strip
        return inner

    def _surface(self, mask: np.ndarray) -> np.ndarray:
        surface = bits.surface(bits.pack(mask))
        # The mask goes on beyond what is read, unless the image ends there.
        if self.first > 0:
            surface[0] = 0
        if self.last < self.height:
            surface[-1] = 0
        return surface

    def _counted(self, target: np.ndarray, tolerance: float) -> np.ndarray:
        """Where a surface element counts, in the strip's own rows."""
        reach = int(tolerance)
        inside = np.zeros((self.bottom - self.top, self.width), bool)
        above, below = max(0, reach - self.top), max(0, reach - (self.height - self.bottom))
        inside[above : max(above, len(inside) - below), reach : max(reach, self.width - reach)] = 1
        counted = bits.pack(inside)
        unknown = target == IGNORE
        if unknown.any():
            counted &= ~bits.dilate(bits.pack(unknown), tolerance)[self.rows]
        return counted

    def _near(self, kept: np.ndarray, other: np.ndarray, tolerance: float) -> int:
        """How many of ``kept`` are within the tolerance of ``other``. Only the columns around
        ``kept`` are dilated."""
        words = np.flatnonzero(kept.any(0))
        margin = -(-(int(tolerance) + 1) // 64)
        first, last = max(0, words[0] - margin), words[-1] + 1 + margin
        near = bits.dilate(other[:, first:last].copy(), tolerance)[self.rows]
        near &= kept[:, first:last]
        return bits.count(near)


def _strips(shape: tuple[int, ...], tolerance: float) -> Iterator[_Strip]:
    """Of about the same height, for the sake of threads."""
    bounds = np.linspace(0, shape[0], -(-shape[0] // _ROWS) + 1, dtype=int).tolist()
    return (_Strip(*rows, shape, int(tolerance)) for rows in pairwise(bounds))
