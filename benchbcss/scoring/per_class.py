"""Metrics per class as functions of one-against-rest counts, and their two estimands.

The built-in metrics are registered from here as a stranger's are from anywhere. Undefined values
are NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

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
    """TP / (TP + FP); NaN also where nothing is predicted, so ``per_roi`` is the mean over the ROIs
    that have the class and in which some of it is predicted."""
    part = Triple.of_prompted(counts)
    return np.where(part.true > 0, ratio(part.hit, part.predicted), np.nan)


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FN)."""
    part = Triple.of_prompted(counts)
    return ratio(part.hit, part.true)


def one_against_rest(counts: np.ndarray) -> np.ndarray:
    """int64 [ROI, K, (TP FP FN TN)] of confusion tables int64 [ROI, K, K] (true, predicted), or
    [ROI, K, K + 1] with what was given no class in the last column."""
    hit = np.diagonal(counts, axis1=1, axis2=2)
    false = counts.sum(1)[:, : counts.shape[1]] - hit
    missed = counts.sum(2) - hit
    rest = counts.sum((1, 2))[:, None] - hit - false - missed
    return np.stack([hit, false, missed, rest], -1)


BY_ROI = "by_roi"
Spans = list[tuple[float, float] | None]


def measure(
    compute: Callable[[np.ndarray], np.ndarray], counts: np.ndarray
) -> dict[str, tuple[np.ndarray, Spans]]:
    """A metric over a scored set: estimand -> (values float64 [C], 95 % interval of each class);
    ``by_roi`` -> (values float64 [ROI, C], no intervals).

    ``pooled`` is ``compute`` of the counts summed over ROIs, ``per_roi`` the mean over the ROIs
    where it is defined. Intervals are of Student's t with one degree less than ROIs that have a
    value, from the spread over ROIs, or of the jackknife that leaves one ROI out (Tukey 1958); None
    below three such ROIs. ``counts`` int64 [ROI, ...] as ``compute`` takes them. Raises ValueError
    where it does not return one float per ROI and class.
    """
    values = np.asarray(compute(counts))
    if values.shape != counts.shape[:2] or values.dtype.kind != "f":
        raise ValueError(
            f"a metric returned {values.dtype} {list(values.shape)}, expected float "
            f"{list(counts.shape[:2])}: one value per ROI and class"
        )
    known = np.isfinite(values)
    total = counts.sum(0, keepdims=True)
    pooled = np.asarray(compute(total))[0]
    left_out = np.asarray(compute(total - counts))
    mean, size = nanmean(values), known.sum(0)
    gaps = np.where(known & np.isfinite(left_out), left_out - nanmean(left_out), 0.0)
    spread = np.where(known, values - mean, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt((spread**2).sum(0) / (size * (size - 1)))
        jackknife = np.sqrt((gaps**2).sum(0) * (size - 1) / size)
    return {
        "pooled": (pooled, _spans(pooled, jackknife, size)),
        "per_roi": (mean, _spans(mean, error, size)),
        BY_ROI: (values, []),
    }


def _spans(points: np.ndarray, errors: np.ndarray, sizes: np.ndarray) -> Spans:
    quantiles = stdtrit(np.maximum(1, sizes - 1), 0.975)
    return [
        (float(point - q * error), float(point + q * error)) if size > 2 and known else None
        for point, error, size, q, known in zip(
            points, errors, sizes, quantiles, np.isfinite(points), strict=True
        )
    ]


def estimands(
    compute: Callable[[np.ndarray], np.ndarray], counts: np.ndarray
) -> dict[str, np.ndarray]:
    """The values of ``measure`` alone: estimand -> float64 [C]."""
    measured = measure(compute, counts)
    return {name: values for name, (values, _) in measured.items() if name != BY_ROI}
