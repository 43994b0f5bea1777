"""Boundaries: normalised surface Dice at a tolerance, and the band around true borders.

A surface element is a pixel of a class with one of its four neighbours outside the class (outside
the image counts). Distances are Euclidean between pixel centres. Elements within the tolerance of
an ignored pixel or of the image's edge are left out on both sides: there the border is the
annotation's, not the tissue's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchbcss.contract import IGNORE

TOLERANCE_UM = 5.0

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


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
