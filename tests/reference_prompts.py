"""Prompts as they were made before each region was measured once: they must stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from benchbcss.contract import Prompt, Prompting, Scope, Strategy
from benchbcss.inference.brief import BRIEF

SMALLEST = 256  # px; smaller components are not prompted one by one
NEGATIVES, OUTSIDE = 5, 10.0  # negative points, and their distance from the mask in px
POINTS = 5
_LONGEST = 2048  # px; longer masks are subsampled before distances are computed

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Region:
    """Part of a class: bool ``mask`` and the row and column of its first pixel in the ROI."""

    mask: np.ndarray
    top: int
    left: int


def make_prompts(
    target: np.ndarray, classes: Sequence[int], size: int, prompting: Prompting, roi: str = ""
) -> list[Prompt]:
    """Prompts for the classes present in ``target`` uint8 [H, W], scaled to a square of ``size``.

    One per class, or under scope ``components`` one per component of at least 256 px (none where
    a class has only smaller ones). ``roi`` seeds what is random.
    """
    prompts = []
    for label in classes:
        for number, region in enumerate(regions(target == label, prompting.scope)):
            seed = f"{roi}|{label}|{number}"
            prompts.append(_prompt(region, int(label), prompting.strategy, target, size, seed))
    return prompts


def regions(mask: np.ndarray, scope: Scope) -> Iterator[Region]:
    """What one prompt each points at, in a class's mask bool [H, W]; nothing for an empty mask."""
    window = _bounds(mask)
    if window is None:
        return
    top, left = window[0].start, window[1].start
    cut = mask[window]
    if scope == "class":
        yield Region(cut, top, left)
        return
    labels, _ = ndimage.label(cut, _EIGHT)
    areas = np.bincount(labels.reshape(-1))
    areas[0] = 0
    wanted = [int(areas.argmax())] if scope == "largest" else np.flatnonzero(areas >= SMALLEST)
    boxes = ndimage.find_objects(labels)
    for index in wanted:
        rows, columns = boxes[int(index) - 1]
        component = labels[rows, columns] == index
        yield Region(component, top + rows.start, left + columns.start)


def _prompt(
    region: Region, label: int, strategy: Strategy, target: np.ndarray, size: int, seed: str
) -> Prompt:
    rows, columns = region.mask.shape
    height, width = target.shape
    scale = np.array([size / width, size / height])
    box = None
    if strategy in ("box", "box_neg", "box_neg_outer"):
        x, y = scale
        box = (
            float(region.left * x),
            float(region.top * y),
            float((region.left + columns) * x),
            float((region.top + rows) * y),
        )
        if strategy == "box":
            return Prompt(label, box=box)
    if strategy == "box_neg_outer":
        assert box is not None
        around = _around(box, size, seed)
        return Prompt(label, box, around, (0,) * len(around))
    if strategy == "box_neg":
        places, kind = _outside(region, target.shape, seed), 0
    elif strategy == "centroid":
        places, kind = _centroid(region), 1
    else:
        places, kind = _farthest(region), 1
    points = (places[:, ::-1] + 0.5) * scale
    return Prompt(label, box, tuple((float(x), float(y)) for x, y in points), (kind,) * len(points))


def _centroid(region: Region) -> np.ndarray:
    """[1, 2] (row, column) of the pixel inside that is nearest to the centroid."""
    places = np.argwhere(region.mask)
    nearest = np.square(places - places.mean(0)).sum(1).argmin()
    return places[[nearest]] + np.array([region.top, region.left])


def _farthest(region: Region) -> np.ndarray:
    """[<=5, 2]: the pixel deepest inside, then always the one for which depth times distance to
    the points chosen so far is largest."""
    mask, step = _thinned(region.mask)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    places = np.argwhere(mask)
    depths = depth[mask]
    chosen = [int(depths.argmax())]
    distance = np.full(len(places), np.inf)
    while len(chosen) < min(POINTS, len(places)):
        last = places[chosen[-1]]
        distance = np.minimum(distance, np.sqrt(np.square(places - last).sum(1)))
        chosen.append(int((depths * distance).argmax()))
    return _full(places[chosen], step) + np.array([region.top, region.left])


def _outside(region: Region, shape: tuple[int, ...], seed: str) -> np.ndarray:
    """[<=5, 2]: random pixels of the image on the line 10 px outside the mask."""
    margin = int(OUTSIDE) + 2
    top, left = max(0, region.top - margin), max(0, region.left - margin)
    rows, columns = region.mask.shape
    bottom = min(shape[0], region.top + rows + margin)
    right = min(shape[1], region.left + columns + margin)
    wide = np.zeros((bottom - top, right - left), bool)
    down, over = region.top - top, region.left - left
    wide[down : down + rows, over : over + columns] = region.mask
    thin, step = _thinned(wide)
    distance = ndimage.distance_transform_edt(~thin) * step
    line = np.argwhere(np.abs(distance - OUTSIDE) <= step / 2)
    if not len(line):
        return np.zeros((0, 2), np.int64)
    rng = _generator(seed)
    chosen = line[rng.choice(len(line), min(NEGATIVES, len(line)), replace=False)]
    return _full(chosen, step) + np.array([top, left])


def _around(
    box: tuple[float, float, float, float], size: int, seed: str
) -> tuple[tuple[float, float], ...]:
    """Five random points (x, y) on the rectangle 10 px outside ``box``, where that lies in the
    square of ``size``; none where it lies nowhere in it.

    The authors' masks were squashed to 1024 x 1024 before they were prompted with, so the distance
    is 10 px of such a square, whatever ``size`` the model encodes. A point may lie on another part
    of the class, as theirs could: the box is all that they kept away from.
    """
    distance = BRIEF.outside * size / BRIEF.side
    left, top, right, bottom = (
        box[0] - distance,
        box[1] - distance,
        *(v + distance for v in box[2:]),
    )
    x, y = ([max(0.0, low), min(float(size), high)] for low, high in ((left, right), (top, bottom)))
    sides = [((x[0], edge), (x[1], edge)) for edge in (top, bottom) if 0 <= edge < size]
    sides += [((edge, y[0]), (edge, y[1])) for edge in (left, right) if 0 <= edge < size]
    if not sides:
        return ()
    begin, end = np.array(sides).transpose(1, 0, 2)
    stops = np.cumsum(np.abs(end - begin).sum(1))
    rng = _generator(seed)
    places = rng.uniform(0, stops[-1], NEGATIVES)
    side = np.searchsorted(stops, places, side="right")
    part = 1 - (stops[side] - places) / np.abs(end - begin).sum(1)[side]
    points = begin[side] + part[:, None] * (end - begin)[side]
    return tuple((float(x), float(y)) for x, y in points)


def _generator(seed: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))


def _thinned(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Every ``step``-th pixel of masks longer than 2048 px, unless none would be left."""
    step = -(-max(mask.shape) // _LONGEST)
    start = step // 2
    thin = mask[start::step, start::step]
    return (thin, step) if thin.any() else (mask, 1)


def _full(places: np.ndarray, step: int) -> np.ndarray:
    full: np.ndarray = places * step + step // 2
    return full


def _bounds(mask: np.ndarray) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
