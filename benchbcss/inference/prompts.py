"""Oracle prompts made from ground truth, for the prompted track.

Version 2 (``contract.PROMPT_VERSION``). A prompting is a strategy (what the hint looks like), a
scope (which part of the class it points at) and whether views are averaged. Prompts are
deterministic: what is random is seeded by ROI and class. Coordinates are (x, y) pixels of the
square that the model encodes; a pixel's hint is its centre, a box has edges. Absent classes are
not prompted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from benchbcss.contract import Prompt, Prompting, Scope, Strategy
from benchbcss.inference.brief import BRIEF
from benchbcss.scoring import bits
from benchbcss.scoring.runs import components

SMALLEST = 256  # px; smaller components are not prompted one by one
NEGATIVES, OUTSIDE = 5, 10.0  # negative points, and their distance from the mask in px
POINTS = 5
_LONGEST = 2048  # px; longer masks are subsampled before distances are computed


@dataclass(frozen=True)
class Region:
    """Part of a class: bool ``mask`` and the row and column of its first pixel in the ROI, whose
    size is ``shape``. What prompts need to know of it is computed when it is first asked for."""

    mask: np.ndarray
    top: int
    left: int
    shape: tuple[int, ...]

    @cached_property
    def middle(self) -> np.ndarray:
        """[1, 2] (row, column) of the pixel inside that is nearest to the centroid."""
        places = np.argwhere(self.mask)
        nearest = np.square(places - places.mean(0)).sum(1).argmin()
        return places[[nearest]] + np.array([self.top, self.left])

    @cached_property
    def inner(self) -> np.ndarray:
        """[<=5, 2] points that fill it; see ``_farthest``."""
        return _farthest(self)

    @cached_property
    def around(self) -> np.ndarray:
        """[N, 2] pixels of the ROI on the line 10 px outside; see ``_line``."""
        return _line(self)


def make_prompts(
    target: np.ndarray, classes: Sequence[int], size: int, prompting: Prompting, roi: str = ""
) -> list[Prompt]:
    """Prompts for the classes present in ``target`` uint8 [H, W], scaled to a square of ``size``.

    One per class, or under scope ``components`` one per component of at least 256 px (none where
    a class has only smaller ones). ``roi`` seeds what is random.
    """
    how = prompting.strategy, prompting.scope
    return all_prompts(target, classes, size, [prompting], roi)[how]


def all_prompts(
    target: np.ndarray,
    classes: Sequence[int],
    size: int,
    promptings: Sequence[Prompting],
    roi: str = "",
) -> dict[tuple[Strategy, Scope], list[Prompt]]:
    """``make_prompts`` of each strategy and scope among ``promptings``: a region is found and
    measured once for all of them."""
    made: dict[tuple[Strategy, Scope], list[Prompt]] = {
        (prompting.strategy, prompting.scope): [] for prompting in promptings
    }
    scopes = list(dict.fromkeys(scope for _, scope in made))
    for label in classes:
        for scope, number, region in _scoped(target == label, scopes):
            seed = f"{roi}|{label}|{number}"
            for (strategy, wanted), prompts in made.items():
                if wanted == scope:
                    prompts.append(_prompt(region, int(label), strategy, size, seed))
    return made


def covered(mask: np.ndarray, scope: Scope) -> int:
    """Pixels of a class that a scope points at: what a perfect outline could score on."""
    if scope == "class" or not mask.any():
        return int(np.count_nonzero(mask))
    areas = _Parts(mask).areas
    return int(areas.max() if scope == "largest" else areas[areas >= SMALLEST].sum())


def keep_largest(mask: np.ndarray) -> np.ndarray:
    """Only the largest 8-connected component of bool [H, W]."""
    kept = np.zeros_like(mask)
    for _, _, region in _scoped(mask, ["largest"]):
        rows, columns = region.mask.shape
        kept[region.top : region.top + rows, region.left : region.left + columns] = region.mask
    return kept


def _scoped(mask: np.ndarray, scopes: Sequence[Scope]) -> Iterator[tuple[Scope, int, Region]]:
    """(scope, number, region): what one prompt each points at, in a class's mask bool [H, W];
    nothing for an empty mask. The largest component is one region under both scopes that have it,
    and one region at a time is held."""
    window = _bounds(mask)
    if window is None:
        return
    top, left = window[0].start, window[1].start
    cut = mask[window]
    if "class" in scopes:
        yield "class", 0, Region(cut, top, left, mask.shape)
    if not {"largest", "components"} & set(scopes):
        return
    parts = _Parts(cut)
    largest = int(parts.areas.argmax())
    numbers: dict[int, list[tuple[Scope, int]]] = {}
    if "components" in scopes:
        for number, index in enumerate(np.flatnonzero(parts.areas >= SMALLEST).tolist()):
            numbers[index] = [("components", number)]
    if "largest" in scopes:
        numbers.setdefault(largest, []).append(("largest", 0))
    for index, wanted in numbers.items():
        (rows, columns), component = parts.cut(index)
        region = Region(component, top + rows.start, left + columns.start, mask.shape)
        for scope, number in wanted:
            yield scope, number, region


class _Parts:
    """The 8-connected components of a mask bool [H, W] in the order of their first pixels;
    ``areas`` [1 + N] in pixels, 0 for what is no component."""

    def __init__(self, mask: np.ndarray) -> None:
        labels = mask.view(np.uint8) if mask.flags.c_contiguous else mask.astype(np.uint8)
        numbered = components(labels, (1,))
        self.shape, self.ids = mask.shape, numbered.run_ids
        self.lengths = np.diff(np.flatnonzero(numbered.change), append=mask.size)
        areas = np.bincount(self.ids, self.lengths, len(numbered.labels)).astype(np.int64)
        areas[0] = 0
        self.areas = areas

    def cut(self, index: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """Rows and columns that a component lies in, and bool of where."""
        box = self._boxes[index - 1]
        return box, self._labels[box] == index

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.repeat(self.ids.astype(np.int32), self.lengths).reshape(self.shape)

    @cached_property
    def _boxes(self) -> list[tuple[slice, slice]]:
        boxes: list[tuple[slice, slice]] = ndimage.find_objects(self._labels)
        return boxes


def _prompt(region: Region, label: int, strategy: Strategy, size: int, seed: str) -> Prompt:
    rows, columns = region.mask.shape
    height, width = region.shape
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
        places, kind = _outside(region, seed), 0
    elif strategy == "centroid":
        places, kind = region.middle, 1
    else:
        places, kind = region.inner, 1
    points = (places[:, ::-1] + 0.5) * scale
    return Prompt(label, box, tuple((float(x), float(y)) for x, y in points), (kind,) * len(points))


def _farthest(region: Region) -> np.ndarray:
    """[<=5, 2]: the pixel deepest inside, then always the one for which depth times distance to
    the points chosen so far is largest."""
    mask, step = _thinned(region.mask)
    places = np.argwhere(mask)
    outside = ndimage.distance_transform_edt(
        np.pad(mask, 1), return_distances=False, return_indices=True
    )[:, 1:-1, 1:-1]
    nearest = outside[:, mask].T - 1  # padded by one
    depths = np.sqrt(np.square(places - nearest).sum(1))
    chosen = [int(depths.argmax())]
    distance = np.full(len(places), np.inf)
    while len(chosen) < min(POINTS, len(places)):
        last = places[chosen[-1]]
        distance = np.minimum(distance, np.sqrt(np.square(places - last).sum(1)))
        chosen.append(int((depths * distance).argmax()))
    return _full(places[chosen], step) + np.array([region.top, region.left])


def _outside(region: Region, seed: str) -> np.ndarray:
    """[<=5, 2]: random pixels of the image on the line 10 px outside the mask."""
    line = region.around
    if not len(line):
        return np.zeros((0, 2), np.int64)
    return line[_generator(seed).choice(len(line), min(NEGATIVES, len(line)), replace=False)]


def _line(region: Region) -> np.ndarray:
    """[N, 2]: the pixels of the image 10 px outside the mask, give or take half a pixel."""
    margin = int(OUTSIDE) + 2
    top, left = max(0, region.top - margin), max(0, region.left - margin)
    rows, columns = region.mask.shape
    bottom = min(region.shape[0], region.top + rows + margin)
    right = min(region.shape[1], region.left + columns + margin)
    wide = np.zeros((bottom - top, right - left), bool)
    down, over = region.top - top, region.left - left
    wide[down : down + rows, over : over + columns] = region.mask
    thin, step = _thinned(wide)
    # Squared distances between pixels are whole numbers: which of them are on the line?
    squares = np.arange((2 * int(OUTSIDE) // step + 2) ** 2)
    on_line = np.flatnonzero(np.abs(np.sqrt(squares) * step - OUTSIDE) <= step / 2)
    if not len(on_line):
        return np.zeros((0, 2), np.int64)
    packed = bits.pack(thin)
    line = bits.dilate(packed, math.sqrt(on_line[-1] + 0.5))
    if on_line[0]:
        line &= ~bits.dilate(packed, math.sqrt(on_line[0] - 0.5))
    places = np.argwhere(bits.unpack(line, thin.shape[1]))
    return _full(places, step) + np.array([top, left])


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
