"""What is done to a predicted mask before it is scored.

``none``: nothing. ``largest``: its largest 8-connected component alone. ``close_fill``: as the
authors of the brief did it, on the square of 1024 x 1024 px that they squashed ROIs to: a
morphological closing of 7 x 7 px, then the contour of the largest area, filled.
"""

from __future__ import annotations

import cv2
import numpy as np

from benchbcss.contract import Postprocess
from benchbcss.inference.brief import BRIEF
from benchbcss.inference.views import squash_labels


def grid(how: Postprocess, shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which a mask is made that is then post-processed: the ROI's, or that of
    the authors' square."""
    return (BRIEF.side, BRIEF.side) if how == "close_fill" else shape


def postprocess(mask: np.ndarray, how: Postprocess, shape: tuple[int, int]) -> np.ndarray:
    """bool [H, W] of the ROI's ``shape`` from a mask bool of ``grid(how, shape)``."""
    if how == "largest":
        from benchbcss.inference.prompts import keep_largest

        return keep_largest(mask)
    if how == "close_fill":
        return squash_labels(close_fill(mask), shape)
    return mask


def close_fill(mask: np.ndarray, size: int = BRIEF.closing) -> np.ndarray:
    """bool [H, W]: closed with a square of ``size`` px, then the outer contour that encloses the
    largest area, filled; all other parts are dropped, all holes with them. What lies outside the
    image neither dilates into it nor erodes it (cv2's own border).

    The area is that of the polygon through the centres of the border pixels (``cv2.contourArea``),
    holes included, so a ring counts as a disc.
    """
    kernel = np.ones((size, size), np.uint8)
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    kept: np.ndarray = filled.astype(bool)
    return kept
