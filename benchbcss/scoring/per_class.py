"""Metrics per class as functions of one-against-rest counts, and their two estimands.

The built-in metrics are registered from here as a stranger's are from anywhere. Undefined values
are NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchbcss.scoring.metrics import Triple, dice_of, nanmean, ratio


def dice(counts: np.ndarray) -> np.ndarray:
    """float64 [ROI, C] of int64 [ROI, C, (TP FP FN TN)]; NaN where the class is absent from truth,
    as in ``iou``, ``precision`` and ``recall``."""
    return dice_of(Triple.of_prompted(counts))


def iou(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN)."""
    part = Triple.of_prompted(counts)
    union = part.true + part.predicted - part.hit
    return np.where(part.true > 0, ratio(part.hit, union), np.nan)


def precision(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP); NaN also where nothing is predicted."""
    part = Triple.of_prompted(counts)
    return np.where(part.true > 0, ratio(part.hit, part.predicted), np.nan)


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FN)."""
    part = Triple.of_prompted(counts)
    return ratio(part.hit, part.true)


def one_against_rest(counts: np.ndarray) -> np.ndarray:
    """int64 [ROI, K, (TP FP FN TN)] of confusion tables int64 [ROI, K, K] (true, predicted)."""
    hit = np.diagonal(counts, axis1=1, axis2=2)
    false = counts.sum(1) - hit
    missed = counts.sum(2) - hit
    rest = counts.sum((1, 2))[:, None] - hit - false - missed
    return np.stack([hit, false, missed, rest], -1)


def estimands(
    compute: Callable[[np.ndarray], np.ndarray], counts: np.ndarray
) -> dict[str, np.ndarray]:
    """A metric over a scored set, float64 [C] each: ``pooled``, of the counts summed over ROIs, and
    ``per_roi``, the mean over the ROIs where it is defined.

    ``counts`` int64 [ROI, ...] as ``compute`` takes them. Raises ValueError where it does not
    return one float per ROI and class.
    """
    values = np.asarray(compute(counts))
    if values.shape != counts.shape[:2] or values.dtype.kind != "f":
        raise ValueError(
            f"a metric returned {values.dtype} {list(values.shape)}, expected float "
            f"{list(counts.shape[:2])}: one value per ROI and class"
        )
    return {
        "pooled": np.asarray(compute(counts.sum(0, keepdims=True)))[0],
        "per_roi": nanmean(values),
    }
