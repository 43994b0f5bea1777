"""The layout of tissue: which code lies where, and the vessels among it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchbcss.data.phantom.canvas import Canvas, Window
from benchbcss.data.phantom.figures import (
    FAT,
    FIGURES,
    GLAND,
    LYMPHOCYTE,
    NECROSIS,
    STROMA,
    TUMOR,
    VESSEL,
)


def rotated(rng: np.random.Generator, size: int) -> np.ndarray:
    """bool [S, S]: the largest square of a random tilt that touches all four sides."""
    angle = np.deg2rad(rng.uniform(*FIGURES["tilt"])) * rng.choice([-1, 1])
    half = size / 2 / (abs(np.cos(angle)) + abs(np.sin(angle)))
    ruler = np.arange(size) - (size - 1) / 2
    y, x = ruler[:, None], ruler[None]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside: np.ndarray = (np.abs(u) <= half) & (np.abs(v) <= half)
    return inside


@dataclass(frozen=True)
class Ring:
    """A vessel: an ellipse around (x, y) with radii a and b, turned by ``angle``."""

    x: float
    y: float
    a: float
    b: float
    angle: float
    wall: float
    filled: bool


def layout(
    canvas: Canvas, inside: np.ndarray, shares: dict[Any, float]
) -> tuple[np.ndarray, list[Ring]]:
    """Codes uint8 [S, S] over the whole frame, and its vessels."""
    rng, size = canvas.rng, canvas.size
    nest = canvas.field(90) + 0.45 * canvas.field(32) + 0.15 * canvas.field(12)
    codes = np.zeros((size, size), np.uint8)
    rings: list[Ring] = []
    area, wanted = 0, shares[VESSEL] * size * size
    for _ in range(600):
        if area >= wanted:
            break
        x, y = rng.uniform(0, size, 2)
        if nest[int(y), int(x)] > 0.4 and rng.random() < 0.7:
            continue  # vessels run in stroma more often than in nests
        a = min(float(rng.lognormal(2.35, 0.3)), 20.0)
        ring = Ring(
            x,
            y,
            a,
            a * rng.uniform(0.55, 1),
            rng.uniform(0, np.pi),
            rng.uniform(0.22, 0.4),
            bool(rng.random() < 0.55),
        )
        window, radius = elliptic_radius(canvas, ring, 2.0)
        disc = radius <= 1.0 + 1.2 / ring.b
        if (codes[window][disc] == VESSEL).any():
            continue
        codes[window][disc] = VESSEL
        area += int((disc & inside[window]).sum())
        rings.append(ring)

    free = inside & (codes == 0)
    blob = canvas.field(55) + 0.25 * canvas.field(18)
    other = _top(blob, free, shares["other"] * size * size) & (codes == 0)
    kind = canvas.field(110)
    codes[other & (kind > 0)] = FAT
    codes[other & (kind <= 0)] = GLAND
    for code, score in (
        (NECROSIS, canvas.field(85) + 0.4 * nest + 0.12 * canvas.field(20)),
        (LYMPHOCYTE, canvas.field(62) - 0.2 * nest + 0.15 * canvas.field(16)),
        (TUMOR, nest),
    ):
        free = inside & (codes == 0)
        chosen = _top(score, free, shares[code] * size * size)
        codes[chosen & (codes == 0)] = code
    codes[codes == 0] = STROMA
    return codes, rings


def _top(score: np.ndarray, free: np.ndarray, pixels: float) -> np.ndarray:
    """bool: where ``score`` is at least what the best ``pixels`` free pixels reach."""
    values = score[free]
    count = min(int(pixels), len(values))
    if not count:
        return np.zeros(score.shape, bool)
    bound = np.partition(values, len(values) - count)[len(values) - count]
    chosen: np.ndarray = score >= bound
    return chosen


def elliptic_radius(canvas: Canvas, ring: Ring, margin: float) -> tuple[Window, np.ndarray]:
    """The window around a ring and the elliptic radius in it (1 on its outer wall)."""
    reach = ring.a * 1.2 + margin + 2
    rows = slice(max(0, int(ring.y - reach)), int(ring.y + reach) + 1)
    columns = slice(max(0, int(ring.x - reach)), int(ring.x + reach) + 1)
    y, x = canvas.window((rows, columns))
    dy, dx = y - ring.y, x - ring.x
    u = dx * np.cos(ring.angle) + dy * np.sin(ring.angle)
    v = dy * np.cos(ring.angle) - dx * np.sin(ring.angle)
    return (rows, columns), np.sqrt((u / ring.a) ** 2 + (v / ring.b) ** 2)
