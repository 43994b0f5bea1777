"""Nuclei as polygons: how many, how large and how dark is a matter of the tissue."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from benchbcss.data.phantom.canvas import Canvas
from benchbcss.data.phantom.figures import FIGURES, STROMA, TUMOR, by_code


def paint_nuclei(canvas: Canvas, look: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """float32 [S, S]: nuclear haematoxylin, drawn at twice the size and averaged."""
    rng, size = canvas.rng, canvas.size
    big = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(big)
    grade = rng.uniform(0.8, 1.3)  # of this tumour: small and even, or large and wild
    crowd = canvas.field(70)
    for code, figure in by_code(FIGURES["nuclei"]).items():
        scale = grade if code == TUMOR else 1.0
        points = _scatter(rng, size, figure["gap"] * max(scale, 0.9))
        at = (points[:, 1].astype(int), points[:, 0].astype(int))
        keep = np.ones(len(points), bool) if code is None else look[at] == code
        keep &= rng.random(len(points)) < np.clip(0.82 + 0.18 * crowd[at], 0.35, 1)
        points = points[keep]
        if not len(points):
            continue
        along = angle[points[:, 1].astype(int), points[:, 0].astype(int)] + np.pi / 2
        free = code != STROMA
        turn = (
            rng.uniform(0, np.pi, len(points))
            if free
            else along + 0.3 * rng.standard_normal(len(points))
        )
        radii = figure["radius"] * scale * np.exp(figure["vary"] * rng.standard_normal(len(points)))
        stretch = np.sqrt(1 + (figure["longer"] - 1) * rng.uniform(0.4, 1.3, len(points)))
        shades = rng.uniform(figure["dark"][0], figure["dark"][1], len(points))
        outlines = _outlines(rng, points, radii, stretch, turn)
        hollow = _outlines(rng, points, 0.62 * radii, stretch, turn)
        vesicular = (code == TUMOR) & (rng.random(len(points)) < 0.6)
        for outline, inner, shade, open_ in zip(outlines, hollow, shades, vesicular, strict=True):
            pen.polygon(outline.tolist(), fill=int(190 * min(shade, 1.3)))
            if open_:
                pen.polygon(inner.tolist(), fill=int(190 * shade * 0.68))
    small = np.asarray(big.resize((size, size), Image.Resampling.BOX), np.float32)
    del pen, big
    small /= 190
    ndimage.gaussian_filter(small, 0.45, output=small)
    return small


def _scatter(rng: np.random.Generator, size: int, gap: float) -> np.ndarray:
    """float64 [N, 2] (x, y): a jittered hexagonal grid."""
    rows = np.arange(0, size, gap * 0.87)
    columns = np.arange(0, size, gap)
    x, y = np.meshgrid(columns, rows)
    x = x + (np.arange(len(rows)) % 2)[:, None] * gap / 2
    points = np.stack([x, y], -1).reshape(-1, 2) + rng.uniform(-0.38, 0.38, (x.size, 2)) * gap
    return points[((points >= 0) & (points < size)).all(1)]


def _outlines(
    rng: np.random.Generator,
    points: np.ndarray,
    radii: np.ndarray,
    stretch: np.ndarray,
    turn: np.ndarray,
) -> np.ndarray:
    """Polygons of ten corners at twice the scale, in the order in which PIL takes their numbers:
    float64 [N, 20]. As lists they would take four times the memory."""
    corner = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    wobble = radii[:, None] * (1 + 0.10 * rng.standard_normal((len(points), 10)))
    u = wobble * np.cos(corner) * stretch[:, None]
    v = wobble * np.sin(corner) / stretch[:, None]
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x, y = points[:, :1] + u * cos - v * sin, points[:, 1:] + u * sin + v * cos
    return np.stack([2 * x, 2 * y], -1).reshape(len(points), -1)
