"""Paint what a layout says: stain amounts per pixel, then absorption."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from benchbcss.data.phantom.canvas import Canvas
from benchbcss.data.phantom.figures import (
    FAT,
    FIGURES,
    GLAND,
    NECROSIS,
    STROMA,
    TUMOR,
    VESSEL,
    by_code,
)
from benchbcss.data.phantom.nuclei import paint_nuclei
from benchbcss.data.phantom.tissue import Ring, elliptic_radius
from benchbcss.data.stains import stain_vectors


def paint(canvas: Canvas, codes: np.ndarray, rings: list[Ring], site: str) -> np.ndarray:
    """uint8 [S, S, 3]: stain amounts per pixel, then absorption.

    What is as large as the ROI is kept no longer than it is needed, and computed in place or in
    strips: at 4096 px each plane of float32 is 67 MB."""
    look = _wander(canvas, codes)
    angle = np.pi * 0.5 * canvas.field(140)
    h, e, grain = _tissue(canvas, look, angle)
    soft = _lumens(canvas, look, e, h)
    nuclei = paint_nuclei(canvas, look, angle)
    nuclei *= soft
    del look, angle, soft
    red = np.zeros_like(e)
    _vessels(canvas, rings, e, h, red, nuclei)
    variation = canvas.grain(1.0)
    for rows in canvas.strips():
        h[rows] = h[rows] * (1 - 0.6 * nuclei[rows]) + nuclei[rows] * (1.0 + 0.22 * variation[rows])
        e[rows] = e[rows] * (1 - 0.35 * nuclei[rows]) + 0.03 * grain[rows] * (e[rows] > 0.1)
    del nuclei, variation, grain
    light = _absorb(canvas, (h, e, red), site)
    del h, e, red
    return _scan(canvas, light)


def _wander(canvas: Canvas, codes: np.ndarray) -> np.ndarray:
    """Codes uint8 [S, S] of what is drawn, which wanders around what is labelled, as with human
    outlines; stroma runs on under vessels."""
    shift_y, shift_x = (2.5 * canvas.field(24) for _ in range(2))
    ground = np.where(codes == VESSEL, STROMA, codes)
    look, last = np.empty_like(ground), canvas.size - 1
    for rows in canvas.strips():
        row = np.clip(np.rint(canvas.y[rows] + shift_y[rows]), 0, last).astype(np.int32)
        column = np.clip(np.rint(canvas.x + shift_x[rows]), 0, last).astype(np.int32)
        look[rows] = ground[row, column]
    return look


def _tissue(
    canvas: Canvas, look: np.ndarray, angle: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Haematoxylin and eosin of the tissue without its nuclei, and the fine grain that eosin has:
    float32 [S, S] each."""
    fibres = _fibres(canvas, angle)
    pale = canvas.field(80)  # oedema here, hyaline there, in every class alike
    mottle, grain = canvas.grain(3.0), canvas.grain(0.8)
    textures = {"fibres": fibres, "pale": pale, "mottle": mottle, "grain": grain}
    blue = by_code(FIGURES["haematoxylin"])
    basophil = blue[TUMOR]
    blue[TUMOR] = basophil["mean"] + basophil["deviation"] * canvas.rng.standard_normal()
    e = np.zeros(look.shape, np.float32)
    h = np.zeros(look.shape, np.float32)
    for code, figure in by_code(FIGURES["eosin"]).items():
        weight = (look == code).astype(np.float32)
        if not weight.any():
            continue
        ndimage.gaussian_filter(weight, 2.2, output=weight)
        strengths = {name: value for name, value in figure.items() if name != "base"}
        for rows in canvas.strips():
            amount = figure["base"]
            for texture, strength in strengths.items():
                amount = amount + strength * textures[texture][rows]
            e[rows] += weight[rows] * amount
            h[rows] += weight[rows] * blue[code]
    for rows in canvas.strips():
        h[rows] += 0.04 * mottle[rows] * (h[rows] > 0.05)
    return h, e, grain


def _fibres(canvas: Canvas, angle: np.ndarray) -> np.ndarray:
    """Wavy collagen, in about [-1, 1]."""
    lean = float(canvas.rng.uniform(0, np.pi))
    along = canvas.x * np.cos(lean) + canvas.y * np.sin(lean)
    phase = along * canvas.rng.uniform(0.35, 0.6) + 9 * angle + 2.2 * canvas.field(26)
    waves = np.sin(phase) * (0.6 + 0.4 * np.sin(0.37 * phase + canvas.field(40)))
    result: np.ndarray = 0.7 * waves + 0.35 * canvas.grain(1.2)
    return result


def _lumens(canvas: Canvas, look: np.ndarray, e: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Fat cells with thin membranes, gland lumens, and clefts that belong to no class.

    Returns float32 [S, S]: 1 where there is tissue, 0 where it is white."""
    rng, size = canvas.rng, canvas.size
    fat = look == FAT
    if fat.any():
        spacing = rng.uniform(22, 32)
        count = max(4, int((size / spacing) ** 2))
        points = rng.uniform(0, size, (count, 2))
        membrane = _voronoi_edges(canvas, points, rng.uniform(1.3, 2.0))
        weight = ndimage.gaussian_filter((fat & membrane).astype(np.float32), 0.7)
        e += 0.5 * weight
        h += 0.05 * weight
    gland = look == GLAND
    white = (gland & (canvas.field(26) > 0.8)) | (
        (canvas.field(16) > 2.5) & ((look == STROMA) | (look == TUMOR) | (look == NECROSIS))
    )
    soft = 1 - ndimage.gaussian_filter(white.astype(np.float32), 1.2)
    e *= soft
    h *= soft
    inside_fat = ndimage.gaussian_filter(fat.astype(np.float32), 1.2)
    return soft * (1 - inside_fat)


def _voronoi_edges(canvas: Canvas, points: np.ndarray, width: float) -> np.ndarray:
    """bool [S, S]: pixels within ``width`` of being as near to one of ``points`` as to another."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    edges = np.empty((canvas.size, canvas.size), bool)
    columns = np.arange(canvas.size)
    for rows in canvas.strips():
        grid = np.stack(np.meshgrid(np.arange(rows.start, rows.stop), columns, indexing="ij"), -1)
        near = tree.query(grid.reshape(-1, 2), k=2)[0]
        edges[rows] = (near[:, 1] - near[:, 0] < 2 * width).reshape(-1, canvas.size)
    return edges


def _vessels(
    canvas: Canvas,
    rings: list[Ring],
    e: np.ndarray,
    h: np.ndarray,
    red: np.ndarray,
    nuclei: np.ndarray,
) -> None:
    """A pink wall, a few flat nuclei in it, a lumen that is empty or holds red cells."""
    rng = canvas.rng
    for ring in rings:
        window, radius = elliptic_radius(canvas, ring, 3.0)
        radius = radius * (1 + 0.05 * rng.standard_normal())
        soft = 0.9 / ring.b
        inner = 1 - ring.wall
        lumen = np.clip((inner - radius) / soft + 0.5, 0, 1)
        wall = np.clip((1.0 - radius) / soft + 0.5, 0, 1) - lumen
        body = np.clip(wall + lumen, 0, 1)
        strength = rng.uniform(0.5, 0.75)
        e[window] = e[window] * (1 - body) + strength * wall + 0.03 * lumen
        h[window] = h[window] * (1 - body) + rng.uniform(0.1, 0.25) * wall
        nuclei[window] *= 1 - body
        if ring.filled:
            cells = ndimage.gaussian_filter(rng.random(radius.shape).astype(np.float32), 1.0)
            some = (cells > np.quantile(cells, rng.uniform(0.25, 0.7))) * lumen
            red[window] += ndimage.gaussian_filter(0.75 * some.astype(np.float32), 0.6)
        y, x = canvas.window(window)
        dy, dx = y - ring.y, x - ring.x
        around = np.arctan2(dy, dx)
        for place in rng.uniform(-np.pi, np.pi, rng.integers(2, 6)):
            apart = np.abs(np.angle(np.exp(1j * (around - place)))) * ring.a
            flat = np.clip(1.6 - apart / 2.2, 0, 1) * np.clip(
                1.5 - np.abs(radius - inner) * ring.b / 1.3, 0, 1
            )
            nuclei[window] = np.maximum(nuclei[window], 0.85 * flat.astype(np.float32))


def _absorb(canvas: Canvas, stains: tuple[np.ndarray, ...], site: str) -> np.ndarray:
    """Beer-Lambert with the institute's own stain, of three planes float32 [S, S]: the light that
    comes through, float32 [S, S, 3]."""
    figure, rng = FIGURES["institute"], canvas.rng
    site_rng = np.random.default_rng([ord(letter) for letter in site])
    base = np.array(stain_vectors("haematoxylin", "eosin", "red_cells", source="phantom"))
    vectors = base * (1 + figure["vector_deviation"] * site_rng.standard_normal((3, 3)))
    gain = site_rng.uniform(figure["gain"]["low"], figure["gain"]["high"])
    low, high = FIGURES["roi_gain"]
    gain = gain * rng.uniform(low, high, 3)
    white = site_rng.uniform(*figure["white"]) + site_rng.uniform(
        -figure["tint"], figure["tint"], 3
    )
    vectors, white = vectors.astype(np.float32), white.astype(np.float32)
    light = np.empty((canvas.size, canvas.size, 3), np.float32)
    for rows in canvas.strips():
        amounts = np.stack([stain[rows] for stain in stains], -1).clip(0, 3)
        amounts = (amounts * gain).astype(np.float32)
        density = sum(amounts[..., i : i + 1] * vectors[i] for i in range(3))
        light[rows] = white * np.exp(-density)
    return light


def _scan(canvas: Canvas, light: np.ndarray) -> np.ndarray:
    """A scanner's blur and noise: uint8 [S, S, 3]. ``light`` is overwritten."""
    ndimage.gaussian_filter(light, (0.55, 0.55, 0), output=light)
    image = np.empty(light.shape, np.uint8)
    for rows, noise in canvas.noise_by_strip(channels=3):
        drawn = light[rows] + FIGURES["noise"] * noise
        image[rows] = np.rint(255 * drawn).clip(0, 255).astype(np.uint8)
    return image
