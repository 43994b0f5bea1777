"""Smooth random fields over one ROI, drawn from its own generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

Window = tuple[slice, slice]


class Canvas:
    """A square of ``size`` px and the generator that everything on it is drawn from.

    ``y`` float32 [S, 1] and ``x`` float32 [1, S] are pixel coordinates.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        ruler = np.arange(size, dtype=np.float32)
        self.y, self.x = ruler[:, None], ruler[None]

    def window(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (y, x) float32 [h, w] of every pixel of ``window``."""
        y, x = np.broadcast_arrays(self.y[window[0]], self.x[:, window[1]])
        return y.copy(), x.copy()

    def strips(self) -> Iterator[slice]:
        """Rows in pieces of about a megapixel, for what needs many bytes per pixel."""
        step = max(1, (1 << 20) // self.size)
        for top in range(0, self.size, step):
            yield slice(top, min(top + step, self.size))

    def field(self, scale: float) -> np.ndarray:
        """float32 [S, S], roughly standard normal, with structure of about ``scale`` pixels."""
        scale = max(2.0, min(scale, self.size / 3))
        cells = int(np.ceil(self.size / scale)) + 4
        coarse = self.rng.standard_normal((cells, cells)).astype(np.float32)
        offset = self.rng.uniform(0, 1, 2)
        tall = _spline(coarse, self.size, scale, offset[0])
        return _spline(tall.T, self.size, scale, offset[1]).T

    def noise(self, channels: int | None = None) -> np.ndarray:
        """float32 [S, S] or [S, S, C] of independent standard normal values."""
        shape = (self.size,) if channels is None else (self.size, channels)
        drawn = np.empty((self.size, *shape), np.float32)
        for rows in self.strips():  # the generator draws float64: never more than a strip of it
            drawn[rows] = self.rng.standard_normal((rows.stop - rows.start, *shape))
        return drawn

    def grain(self, sigma: float) -> np.ndarray:
        """float32 [S, S] fine noise of unit variance."""
        smooth = ndimage.gaussian_filter(self.noise(), sigma)
        return smooth / smooth.std()


def _spline(knots: np.ndarray, size: int, scale: float, offset: float) -> np.ndarray:
    """Cubic B-spline along the first axis, scaled back to unit variance: [cells, N] -> [S, N].

    Four taps in a fixed order rather than a matrix product, whose sums depend on the machine."""
    at = np.arange(size) / scale + offset
    whole = at.astype(np.int64)
    t = (at - whole).astype(np.float32)[:, None]
    taps = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    total = sum(tap * knots[whole + k] for k, tap in enumerate(taps))
    result: np.ndarray = total / np.float32(0.68)
    return result
