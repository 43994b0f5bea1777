"""Scoring as it was before it was made fast, pixel by pixel: the numbers must not change.

Whole-map dilations by OpenCV, components class by class by SciPy, pairs by ``bincount``.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage, sparse

from benchbcss.contract import IGNORE
from benchbcss.scoring.components import COUNTERPART, MATCH, SMALLEST, Objects

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_EIGHT = np.ones((3, 3), bool)


def pair_counts(target, prediction, num_classes, abstaining=False):
    pairs = target.astype(np.uint16) << 8 | prediction
    table = np.bincount(pairs.reshape(-1), minlength=1 << 16).reshape(256, 256)
    columns = [*range(num_classes), *([IGNORE] if abstaining else [])]
    return np.concatenate([table[:num_classes], table[IGNORE:]])[:, columns]


def surface_counts(
    target: np.ndarray, prediction: np.ndarray, classes: Sequence[int], tolerance: float
) -> np.ndarray:
    """int64 [C, 4]: true elements, those with a predicted one within ``tolerance`` px, predicted
    elements, those with a true one within it. Maps are uint8 [H, W]."""
    counted = _counted(target, tolerance)
    counts = np.zeros((len(classes), 4), np.int64)
    disc = _disc(tolerance)
    for index, label in enumerate(classes):
        true, predicted = _surface(target == label), _surface(prediction == label)
        for side, surface, other in ((0, true, predicted), (2, predicted, true)):
            kept = surface & counted
            counts[index, side] = cv2.countNonZero(kept)
            if counts[index, side]:
                near = cv2.dilate(other, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
                counts[index, side + 1] = cv2.countNonZero(kept & near)
    return counts


def without_border(target: np.ndarray, tolerance: float) -> np.ndarray:
    """``target`` with every pixel ignored that is within ``tolerance`` px of a border."""
    border = np.zeros(target.shape, np.uint8)
    across, down = target[:, 1:] != target[:, :-1], target[1:] != target[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    band = cv2.dilate(border, _disc(tolerance), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.where(band > 0, np.uint8(IGNORE), target)


def _surface(mask: np.ndarray) -> np.ndarray:
    """uint8 [H, W], 1 on the surface of a bool mask."""
    inside = mask.astype(np.uint8)
    core = cv2.erode(inside, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return inside - core


def _counted(target: np.ndarray, tolerance: float) -> np.ndarray:
    """uint8 [H, W], 1 where a surface element counts."""
    unknown = np.pad((target == IGNORE).astype(np.uint8), 1, constant_values=1)
    near = cv2.dilate(unknown, _disc(tolerance), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return 1 - near[1:-1, 1:-1]


def _disc(radius: float) -> np.ndarray:
    """Pixels at most ``radius`` from the middle: dilating by it asks for a neighbour in reach."""
    reach = int(radius)
    axis = np.arange(-reach, reach + 1)
    return (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.uint8)


def match_objects(
    target: np.ndarray, prediction: np.ndarray, classes: Sequence[int], mpp: float
) -> tuple[Objects, Objects]:
    """Truth's and prediction's objects in uint8 [H, W] maps, for the labels in ``classes``."""
    true_ids, true_label = _label(target, classes)
    found_ids, found_label = _label(prediction, classes)
    true_ids[target == IGNORE] = len(true_label)  # one more, for what is not known
    rows, columns, runs = _runs(true_ids, found_ids)
    shape = (len(true_label) + 1, len(found_label))
    overlap = sparse.coo_array((runs, (rows, columns)), shape=shape).tocsr()

    unknown = overlap[[-1]].toarray()[0]
    overlap = overlap[:-1]
    true_area = np.asarray(overlap.sum(1)).astype(np.int64)
    found_known = np.asarray(overlap.sum(0)).astype(np.int64)
    smallest = SMALLEST / mpp**2
    true_kept = true_area >= smallest
    found_kept = (found_known >= smallest) & (unknown <= found_known)  # at most half ignored
    true_kept[0] = found_kept[0] = False  # id 0 is no component

    pairs = overlap.tocoo()
    same = (pairs.row > 0) & (pairs.col > 0)
    same &= true_label[pairs.row] == found_label[pairs.col]
    row, column, shared = pairs.row[same], pairs.col[same], pairs.data[same]
    covered = np.bincount(row, shared, len(true_label)) / np.maximum(true_area, 1)

    both = true_kept[row] & found_kept[column]
    row, column, shared = row[both], column[both], shared[both]
    union = true_area[row] + found_known[column] - shared
    hit = shared > MATCH * union
    part = shared >= COUNTERPART * found_known[column]
    whole = shared >= COUNTERPART * true_area[row]
    true_matched = np.bincount(row[hit], minlength=len(true_label)) > 0
    found_matched = np.bincount(column[hit], minlength=len(found_label)) > 0
    splits = np.bincount(row[part], minlength=len(true_label))
    merges = np.bincount(column[whole], minlength=len(found_label))
    zeros = np.zeros(len(found_label))
    return (
        _kept(true_kept, true_label, true_area, true_matched, covered, splits),
        _kept(found_kept, found_label, found_known, found_matched, zeros, merges),
    )


def _kept(kept: np.ndarray, *columns: np.ndarray) -> Objects:
    return Objects(*(column[kept] for column in columns))


def _label(labels: np.ndarray, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Component ids int32 [H, W] (0: none of the classes), and the label of each id."""
    ids = np.zeros(labels.shape, np.int32)
    of: list[np.ndarray] = [np.array([-1])]
    count = 0
    for label in classes:
        mask = labels == label
        numbered, components = ndimage.label(mask, _EIGHT, output=np.int32)
        if components:
            np.add(numbered, count, out=ids, where=mask)
            of.append(np.full(components, label))
            count += components
    return ids, np.concatenate(of)


def _runs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, length) of each run of pixels, row after row, in which neither changes."""
    a, b = a.reshape(-1), b.reshape(-1)
    change = a[1:] != a[:-1]
    change |= b[1:] != b[:-1]
    starts = np.concatenate([[0], np.flatnonzero(change) + 1])
    lengths = np.diff(np.concatenate([starts, [len(a)]]))
    return a[starts], b[starts], lengths
