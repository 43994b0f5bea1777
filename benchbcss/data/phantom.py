"""The phantom: synthetic H&E-like ROIs in BCSS's layout, names, codes and institute sites.

It exists so that everything runs anywhere; its numbers are not BCSS. Tumour nests, fibrous
stroma, lymphocyte clusters, pale necrosis, vessels as rings, fat and glands as 'other', rotated
ROIs with outside_roi corners, a stain per institute. Classes share colours on purpose, nuclei of
one class stray into another, and what is drawn follows the labels only within a few pixels.

Same parameters, same bytes: every ROI draws from a generator of its own.
"""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from benchbcss.io import write_bytes

VERSION = 1
TRAIN_SITES = ("A2", "A7", "AC", "AN", "AR", "BH", "D8", "E9")
TEST_SITES = ("OL", "LL", "E2", "EW", "GM", "S3")  # BCSS's test institutes

OUTSIDE, TUMOR, STROMA, LYMPHOCYTE, NECROSIS = 0, 1, 2, 3, 4
UNDETERMINED, FAT, GLAND, VESSEL = 7, 9, 13, 18
#: mean share of all pixels: BCSS's class frequencies as the project brief gives them; 'other' is
#: what then remains beside a quarter outside the ROI, stroma (23.5 %) is the rest
SHARES = {TUMOR: 0.27, LYMPHOCYTE: 0.07, NECROSIS: 0.078, VESSEL: 0.017, "other": 0.08}
TILT = (6.0, 14.0)  # degrees; about a quarter of the bounding box lies outside

# Optical density per unit of stain, R G B: haematoxylin, eosin, red cells.
_STAINS = np.array([[0.64, 0.72, 0.33], [0.12, 0.88, 0.42], [0.10, 0.80, 0.92]])


def generate(
    directory: Path, *, rois: int = 24, size: int = 512, seed: int = 0, workers: int | None = None
) -> None:
    """Write ``rois`` square ROIs of ``size`` px to ``directory``; returns at once if it holds them.

    ``phantom.json`` is written last and marks a complete phantom. Raises ValueError for
    impossible parameters and for a folder that holds something else.
    """
    if rois < 6 or not 64 <= size <= 8192 or seed < 0:
        raise ValueError(
            f"a phantom needs at least 6 ROIs of 64 to 8192 px and a seed of at least 0, got "
            f"{rois} ROIs of {size} px, seed {seed}"
        )
    directory = Path(directory)
    wanted = {
        "version": VERSION,
        "rois": rois,
        "size": size,
        "seed": seed,
        "note": "synthetic images; not BCSS",
    }
    marker = directory / "phantom.json"
    if marker.is_file():
        if json.loads(marker.read_text(encoding="utf-8")) == wanted:
            return
        raise ValueError(f"{directory} holds a phantom of other parameters; name another folder")
    torn = (directory / ".phantom").is_file()
    if directory.is_dir() and any(directory.iterdir()) and not torn:
        raise ValueError(f"{directory} is not empty; name another folder")
    for name in ("images", "masks", "meta"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    write_bytes(directory / ".phantom", b"unfinished\n")  # a torn one may be completed later

    plans = _plan(rois, size, seed)
    with ThreadPoolExecutor(workers) as pool:
        for plan, (image, mask) in zip(plans, pool.map(draw, plans), strict=True):
            write_bytes(directory / "images" / plan.name, image)
            write_bytes(directory / "masks" / plan.name, mask)
    codes = resources.files("benchbcss.data") / "gtruth_codes.tsv"
    write_bytes(directory / "meta" / "gtruth_codes.tsv", codes.read_bytes())
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([("filename", "split"), *((plan.name, plan.part) for plan in plans)])
    write_bytes(directory / "splits.csv", table.getvalue().encode())
    write_bytes(marker, (json.dumps(wanted, indent=1) + "\n").encode())
    (directory / ".phantom").unlink()


@dataclass(frozen=True)
class _Plan:
    """One ROI: its name and part, and the share of its pixels that each class takes."""

    name: str
    part: str
    site: str
    index: int
    size: int
    seed: int
    shares: dict[Any, float]


def _plan(rois: int, size: int, seed: int) -> list[_Plan]:
    """Names, parts and class shares; shares vary from ROI to ROI and average to SHARES."""
    rng = np.random.default_rng([seed, 0])
    test, val = max(1, round(rois / 4)), max(1, round(rois / 6))
    parts = ["train"] * (rois - val - test) + ["val"] * val + ["test"] * test
    firsts = {parts.index(part) for part in ("train", "val", "test")}
    shares: dict[Any, np.ndarray] = {}
    for code, mean in SHARES.items():
        values = rng.uniform(0.5, 1.5, rois)
        if code in (LYMPHOCYTE, NECROSIS, VESSEL):  # absent here and there, but from no part
            values *= (rng.random(rois) > 0.2) | np.isin(np.arange(rois), list(firsts))
        shares[code] = np.minimum(values * mean / values.mean(), 3 * mean)
    plans = []
    for index, part in enumerate(parts):
        sites = TEST_SITES if part == "test" else TRAIN_SITES
        site = sites[index % len(sites)]
        x, y = (int(value) for value in rng.integers(1000, 90000, 2))
        plans.append(
            _Plan(
                f"TCGA-{site}-P{index:03d}-DX1_xmin{x}_ymin{y}_MPP-0.2500.png",
                part,
                site,
                index,
                size,
                seed,
                {code: float(values[index]) for code, values in shares.items()},
            )
        )
    return plans


def draw(plan: _Plan) -> tuple[bytes, bytes]:
    """PNG bytes of one ROI's image (RGB) and mask (codes)."""
    rng = np.random.default_rng([plan.seed, 1, plan.index])
    canvas = _Canvas(rng, plan.size)
    inside = _rotated(rng, plan.size)
    codes, rings = _tissue(canvas, inside, plan.shares)
    image = _render(canvas, codes, rings, plan.site)
    mask = np.where(inside, codes, OUTSIDE).astype(np.uint8)
    if plan.index % 4 == 3:  # an annotator gave up on a corner of it
        doubt = canvas.field(60) > 2.2
        mask[doubt & inside & (mask != VESSEL)] = UNDETERMINED
    return _png(image), _png(mask)


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


class _Canvas:
    """A generator of smooth random fields over one ROI."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.y, self.x = np.mgrid[0:size, 0:size].astype(np.float32)

    def field(self, scale: float) -> np.ndarray:
        """float32 [S, S], roughly standard normal, with structure of about ``scale`` pixels."""
        scale = max(2.0, min(scale, self.size / 3))
        cells = int(np.ceil(self.size / scale)) + 4
        coarse = self.rng.standard_normal((cells, cells)).astype(np.float32)
        offset = self.rng.uniform(0, 1, 2)
        tall = _spline(coarse, self.size, scale, offset[0])
        return _spline(tall.T, self.size, scale, offset[1]).T

    def grain(self, sigma: float) -> np.ndarray:
        """float32 [S, S] fine noise of unit variance."""
        noise = self.rng.standard_normal((self.size, self.size)).astype(np.float32)
        smooth = ndimage.gaussian_filter(noise, sigma)
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


def _rotated(rng: np.random.Generator, size: int) -> np.ndarray:
    """bool [S, S]: the largest square of a random tilt that touches all four sides."""
    angle = np.deg2rad(rng.uniform(*TILT)) * rng.choice([-1, 1])
    half = size / 2 / (abs(np.cos(angle)) + abs(np.sin(angle)))
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside: np.ndarray = (np.abs(u) <= half) & (np.abs(v) <= half)
    return inside


@dataclass(frozen=True)
class _Ring:
    """A vessel: an ellipse around (x, y) with radii a and b, turned by ``angle``."""

    x: float
    y: float
    a: float
    b: float
    angle: float
    wall: float
    filled: bool


def _tissue(
    canvas: _Canvas, inside: np.ndarray, shares: dict[Any, float]
) -> tuple[np.ndarray, list[_Ring]]:
    """Codes uint8 [S, S] over the whole frame, and its vessels."""
    rng, size = canvas.rng, canvas.size
    nest = canvas.field(90) + 0.45 * canvas.field(32) + 0.15 * canvas.field(12)
    codes = np.zeros((size, size), np.uint8)
    rings: list[_Ring] = []
    area, wanted = 0, shares[VESSEL] * size * size
    for _ in range(600):
        if area >= wanted:
            break
        x, y = rng.uniform(0, size, 2)
        if nest[int(y), int(x)] > 0.4 and rng.random() < 0.7:
            continue  # vessels run in stroma more often than in nests
        a = min(float(rng.lognormal(2.35, 0.3)), 20.0)
        ring = _Ring(
            x,
            y,
            a,
            a * rng.uniform(0.55, 1),
            rng.uniform(0, np.pi),
            rng.uniform(0.22, 0.4),
            bool(rng.random() < 0.55),
        )
        window, radius = _radius(canvas, ring, 2.0)
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


def _radius(canvas: _Canvas, ring: _Ring, margin: float) -> tuple[tuple[slice, slice], np.ndarray]:
    """The window around a ring and the elliptic radius in it (1 on its outer wall)."""
    reach = ring.a * 1.2 + margin + 2
    rows = slice(max(0, int(ring.y - reach)), int(ring.y + reach) + 1)
    columns = slice(max(0, int(ring.x - reach)), int(ring.x + reach) + 1)
    dy, dx = canvas.y[rows, columns] - ring.y, canvas.x[rows, columns] - ring.x
    u = dx * np.cos(ring.angle) + dy * np.sin(ring.angle)
    v = dy * np.cos(ring.angle) - dx * np.sin(ring.angle)
    return (rows, columns), np.sqrt((u / ring.a) ** 2 + (v / ring.b) ** 2)


def _render(canvas: _Canvas, codes: np.ndarray, rings: list[_Ring], site: str) -> np.ndarray:
    """uint8 [S, S, 3]: stain amounts per pixel, then absorption."""
    rng, size = canvas.rng, canvas.size
    # What is drawn wanders around what is labelled, as with human outlines.
    shift_y, shift_x = (2.5 * canvas.field(24) for _ in range(2))
    row = np.clip(np.rint(canvas.y + shift_y), 0, size - 1).astype(np.int32)
    column = np.clip(np.rint(canvas.x + shift_x), 0, size - 1).astype(np.int32)
    ground = np.where(codes == VESSEL, STROMA, codes)
    look = ground[row, column]

    angle = np.pi * 0.5 * canvas.field(140)
    fibres = _fibres(canvas, angle)
    pale = canvas.field(80)  # oedema here, hyaline there, in every class alike
    mottle, grain = canvas.grain(3.0), canvas.grain(0.8)
    basophil = 0.30 + 0.10 * rng.standard_normal()
    eosin = {
        STROMA: 0.47 + 0.27 * fibres + 0.07 * pale,
        TUMOR: 0.40 + 0.07 * mottle + 0.05 * pale,
        LYMPHOCYTE: 0.38 + 0.12 * fibres + 0.07 * pale,
        NECROSIS: 0.33 + 0.13 * mottle + 0.06 * grain + 0.05 * pale,
        FAT: 0.02 + 0.0 * pale,
        GLAND: 0.34 + 0.06 * mottle + 0.07 * pale,
    }
    blue = {STROMA: 0.08, TUMOR: basophil, LYMPHOCYTE: 0.16, NECROSIS: 0.13, FAT: 0.0, GLAND: 0.22}
    e = np.zeros((size, size), np.float32)
    h = np.zeros((size, size), np.float32)
    for code, amount in eosin.items():
        here = look == code
        if here.any():
            weight = ndimage.gaussian_filter(here.astype(np.float32), 2.2)
            e += weight * amount
            h += weight * blue[code]
    h += 0.04 * mottle * (h > 0.05)
    tissue = _lumens(canvas, look, e, h)
    nuclei = _nuclei(canvas, look, angle) * tissue
    red = np.zeros_like(e)
    _vessels(canvas, rings, e, h, red, nuclei)
    h = h * (1 - 0.6 * nuclei) + nuclei * (1.0 + 0.22 * canvas.grain(1.0))
    e = e * (1 - 0.35 * nuclei) + 0.03 * grain * (e > 0.1)
    return _absorb(np.stack([h, e, red], -1).clip(0, 3), site, rng)


def _fibres(canvas: _Canvas, angle: np.ndarray) -> np.ndarray:
    """Wavy collagen, in about [-1, 1]."""
    lean = float(canvas.rng.uniform(0, np.pi))
    along = canvas.x * np.cos(lean) + canvas.y * np.sin(lean)
    phase = along * canvas.rng.uniform(0.35, 0.6) + 9 * angle + 2.2 * canvas.field(26)
    waves = np.sin(phase) * (0.6 + 0.4 * np.sin(0.37 * phase + canvas.field(40)))
    result: np.ndarray = 0.7 * waves + 0.35 * canvas.grain(1.2)
    return result


def _lumens(canvas: _Canvas, look: np.ndarray, e: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Fat cells with thin membranes, gland lumens, and clefts that belong to no class.

    Returns float32 [S, S]: 1 where there is tissue, 0 where it is white."""
    rng, size = canvas.rng, canvas.size
    fat = look == FAT
    if fat.any():
        spacing = rng.uniform(22, 32)
        count = max(4, int((size / spacing) ** 2))
        points = rng.uniform(0, size, (count, 2))
        membrane = _voronoi_edges(points, size, rng.uniform(1.3, 2.0))
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


def _voronoi_edges(points: np.ndarray, size: int, width: float) -> np.ndarray:
    from scipy.spatial import cKDTree

    grid = np.indices((size, size)).reshape(2, -1).T
    near = cKDTree(points).query(grid, k=2)[0]
    edges: np.ndarray = (near[:, 1] - near[:, 0] < 2 * width).reshape(size, size)
    return edges


def _vessels(
    canvas: _Canvas,
    rings: list[_Ring],
    e: np.ndarray,
    h: np.ndarray,
    red: np.ndarray,
    nuclei: np.ndarray,
) -> None:
    """A pink wall, a few flat nuclei in it, a lumen that is empty or holds red cells."""
    rng = canvas.rng
    for ring in rings:
        window, radius = _radius(canvas, ring, 3.0)
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
        dy, dx = canvas.y[window] - ring.y, canvas.x[window] - ring.x
        around = np.arctan2(dy, dx)
        for place in rng.uniform(-np.pi, np.pi, rng.integers(2, 6)):
            apart = np.abs(np.angle(np.exp(1j * (around - place)))) * ring.a
            flat = np.clip(1.6 - apart / 2.2, 0, 1) * np.clip(
                1.5 - np.abs(radius - inner) * ring.b / 1.3, 0, 1
            )
            nuclei[window] = np.maximum(nuclei[window], 0.85 * flat.astype(np.float32))


#: per look: distance between nuclei, radius, its variation, elongation, darkness (low, high)
_NUCLEI = {
    TUMOR: (10.5, 4.4, 0.22, 1.25, (0.50, 0.95)),
    STROMA: (15.0, 2.9, 0.25, 2.8, (0.60, 1.00)),
    LYMPHOCYTE: (5.9, 2.6, 0.12, 1.10, (0.90, 1.20)),
    NECROSIS: (10.0, 1.9, 0.55, 1.30, (0.25, 0.90)),
    GLAND: (9.0, 3.4, 0.15, 1.50, (0.60, 0.95)),
}
_STRAYS = (30.0, 2.7, 0.15, 1.15, (0.80, 1.10))  # lymphocytes that wander through every tissue


def _nuclei(canvas: _Canvas, look: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """float32 [S, S]: nuclear haematoxylin, drawn at twice the size and averaged."""
    rng, size = canvas.rng, canvas.size
    big = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(big)
    grade = rng.uniform(0.8, 1.3)  # of this tumour: small and even, or large and wild
    crowd = canvas.field(70)
    for code, (gap, radius, vary, longer, dark) in [*_NUCLEI.items(), (None, _STRAYS)]:  # type: ignore[list-item]
        scale = grade if code == TUMOR else 1.0
        points = _scatter(rng, size, gap * max(scale, 0.9))
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
        radii = radius * scale * np.exp(vary * rng.standard_normal(len(points)))
        stretch = np.sqrt(1 + (longer - 1) * rng.uniform(0.4, 1.3, len(points)))
        shades = rng.uniform(*dark, len(points))
        outlines = _outlines(rng, points, radii, stretch, turn)
        hollow = _outlines(rng, points, 0.62 * radii, stretch, turn)
        vesicular = (code == TUMOR) & (rng.random(len(points)) < 0.6)
        for outline, inner, shade, open_ in zip(outlines, hollow, shades, vesicular, strict=True):
            pen.polygon(outline, fill=int(190 * min(shade, 1.3)))
            if open_:
                pen.polygon(inner, fill=int(190 * shade * 0.68))
    small = np.asarray(big.resize((size, size), Image.Resampling.BOX), np.float32) / 190
    return ndimage.gaussian_filter(small, 0.45)


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
) -> list[list[float]]:
    """Polygons of ten corners at twice the scale, as PIL takes them."""
    corner = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    wobble = radii[:, None] * (1 + 0.10 * rng.standard_normal((len(points), 10)))
    u = wobble * np.cos(corner) * stretch[:, None]
    v = wobble * np.sin(corner) / stretch[:, None]
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x, y = points[:, :1] + u * cos - v * sin, points[:, 1:] + u * sin + v * cos
    flat = np.stack([2 * x, 2 * y], -1).reshape(len(points), -1)
    outlines: list[list[float]] = flat.tolist()
    return outlines


def _absorb(stains: np.ndarray, site: str, rng: np.random.Generator) -> np.ndarray:
    """Beer-Lambert with the institute's own stain, then scanner noise: uint8 [S, S, 3]."""
    own = np.random.default_rng([ord(letter) for letter in site])
    vectors = _STAINS * (1 + 0.10 * own.standard_normal((3, 3)))
    gain = own.uniform((0.80, 0.75, 0.9), (1.25, 1.25, 1.1)) * rng.uniform(0.92, 1.08, 3)
    white = own.uniform(0.93, 0.98) + own.uniform(-0.012, 0.012, 3)
    amounts, vectors = (stains * gain).astype(np.float32), vectors.astype(np.float32)
    density = sum(amounts[..., i : i + 1] * vectors[i] for i in range(3))
    light = white.astype(np.float32) * np.exp(-density)
    light = ndimage.gaussian_filter(light, (0.55, 0.55, 0))
    noise = 0.012 * rng.standard_normal(light.shape).astype(np.float32)
    return np.rint(255 * (light + noise)).clip(0, 255).astype(np.uint8)
