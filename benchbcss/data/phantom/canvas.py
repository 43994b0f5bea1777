"""Smooth random fields over one ROI, drawn from its own generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

Window = tuple[slice, slice]
_STRIP = 1 << 18  # pixels that are computed at a time


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
        """Rows in pieces of ``_STRIP`` pixels, for what needs many bytes per pixel."""
        step = max(1, _STRIP // self.size)
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

    def noise_by_strip(self, channels: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows, and float32 [h, S] or [h, S, C] of independent standard normal values for them: the
        generator draws float64, never more than a strip of it."""
        shape = (self.size,) if channels is None else (self.size, channels)
        for rows in self.strips():
            drawn = self.rng.standard_normal((rows.stop - rows.start, *shape))
            yield rows, drawn.astype(np.float32)

    def grain(self, sigma: float) -> np.ndarray:
        """float32 [S, S] fine noise of unit variance."""
        smooth = np.empty((self.size, self.size), np.float32)
        for rows, noise in self.noise_by_strip():
            smooth[rows] = noise
        ndimage.gaussian_filter(smooth, sigma, output=smooth)
        smooth /= smooth.std()
        return smooth


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
    result = np.empty((size, knots.shape[1]), np.float32)
    step = max(1, _STRIP // knots.shape[1])
    for top in range(0, size, step):
        rows = slice(top, top + step)
        total = sum(tap[rows] * knots[whole[rows] + k] for k, tap in enumerate(taps))
        result[rows] = total / np.float32(0.68)
    return result
