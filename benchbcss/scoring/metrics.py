"""Metrics as pure functions of counts.

Semantic counts are int64 [ROI, K, K] (true, predicted), or [ROI, K, K + 1] where pixels were given
no class (the last column): such a pixel is a miss of its true class and no false positive of any
other. Prompted counts are int64 [ROI, C, 4] (TP, FP, FN, TN). Both reduce to a ``Triple``: per ROI
and class the pixels hit, true and predicted. Undefined values are NaN here and null in records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Triple:
    """Pixels hit, true and predicted: int64 [ROI, C] each."""

    hit: np.ndarray
    true: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of_confusion(cls, counts: np.ndarray) -> Triple:
        """From int64 [ROI, K, K] or [ROI, K, K + 1]."""
        predicted = counts.sum(1)[:, : counts.shape[1]]
        return cls(np.diagonal(counts, axis1=1, axis2=2), counts.sum(2), predicted)

    @classmethod
    def of_prompted(cls, counts: np.ndarray) -> Triple:
        """From int64 [ROI, C, (TP FP FN TN)]."""
        hit = counts[..., 0]
        return cls(hit, hit + counts[..., 2], hit + counts[..., 1])

    def summed(self) -> Triple:
        """All ROIs as one: [1, C]."""
        return Triple(
            *(part.sum(0, keepdims=True) for part in (self.hit, self.true, self.predicted))
        )


@dataclass(frozen=True)
class Score:
    """Values per class [C] and their mean over the classes that count and are defined."""

    dice: np.ndarray
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    mean: float
    defined: int
    of: int


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """float64 top / bottom, NaN where bottom is 0."""
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=bottom != 0)


def dice_of(triple: Triple) -> np.ndarray:
    """float64 [ROI, C]: 2 hit / (true + predicted); NaN where the class is absent from truth."""
    dice = ratio(2 * triple.hit, triple.true + triple.predicted)
    return np.where(triple.true > 0, dice, np.nan)


def _values(triple: Triple) -> dict[str, np.ndarray]:
    here = triple.true > 0
    union = triple.true + triple.predicted - triple.hit
    return {
        "dice": dice_of(triple),
        "iou": np.where(here, ratio(triple.hit, union), np.nan),
        "precision": np.where(here, ratio(triple.hit, triple.predicted), np.nan),
        "recall": ratio(triple.hit, triple.true),
    }


def _score(values: dict[str, np.ndarray], mean_classes: Sequence[int]) -> Score:
    counted = values["dice"][list(mean_classes)]
    defined = int(np.isfinite(counted).sum())
    mean = float(np.nanmean(counted)) if defined else float("nan")
    return Score(**values, mean=mean, defined=defined, of=len(counted))


def nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is defined; NaN where nothing is (without a warning)."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(0), known.sum(0))


def pooled_of(triple: Triple, mean_classes: Sequence[int]) -> Score:
    """Counts summed over ROIs, then metrics per class, then the plain mean of classes."""
    return _score({k: v[0] for k, v in _values(triple.summed()).items()}, mean_classes)


def per_roi_of(triple: Triple, mean_classes: Sequence[int]) -> Score:
    """Metrics per ROI, averaged over the ROIs that have the class, then over classes. Precision
    is undefined where nothing of the class is predicted: it is averaged over the ROIs with some."""
    return _score({k: nanmean(v) for k, v in _values(triple).items()}, mean_classes)


def pooled(counts: np.ndarray, mean_classes: Sequence[int]) -> Score:
    """The ``pooled`` estimand of int64 [ROI, K, K]."""
    return pooled_of(Triple.of_confusion(counts), mean_classes)


def per_roi(counts: np.ndarray, mean_classes: Sequence[int]) -> Score:
    """The ``per_roi`` estimand of int64 [ROI, K, K]."""
    return per_roi_of(Triple.of_confusion(counts), mean_classes)


def pooled_prompted(counts: np.ndarray) -> Score:
    """The ``pooled`` estimand of int64 [ROI, C, 4]; all classes count in the mean."""
    return pooled_of(Triple.of_prompted(counts), range(counts.shape[1]))


def per_roi_prompted(counts: np.ndarray) -> Score:
    """The ``per_roi`` estimand of int64 [ROI, C, 4]; all classes count in the mean."""
    return per_roi_of(Triple.of_prompted(counts), range(counts.shape[1]))


def convention_table(triple: Triple, mean_classes: Sequence[int]) -> dict[str, Any]:
    """The same predictions under other conventions: Dice per class [C] and mean of each.

    ``both_empty_*``: mean over all ROIs, where an ROI with neither truth nor prediction of the
    class counts as NaN (left out), 1 or 0, and one with prediction alone as 0.
    ``micro``: mean over all (ROI, class) pairs with the class in truth.
    """
    area = triple.true + triple.predicted
    dice = ratio(2 * triple.hit, area)
    chosen = list(mean_classes)
    table: dict[str, Any] = {}
    for name, value in (("nan", np.nan), ("one", 1.0), ("zero", 0.0)):
        by_class = nanmean(np.where(area == 0, value, dice))
        table[f"both_empty_{name}"] = {"dice": by_class, "mean": float(nanmean(by_class[chosen]))}
    pairs = dice_of(triple)[:, chosen].reshape(-1)
    table["micro"] = {"dice": None, "mean": float(nanmean(pairs))}
    return table


def tissue_dice(pairs: np.ndarray, named: Sequence[int], per_class_mean: float) -> dict[str, Any]:
    """The metric that misleads: any named class against everything else, ignored pixels as rest.

    ``pairs`` int64 [ROI, K + 1, K] or [ROI, K + 1, K + 1] (``pair_counts``), ``named`` the labels
    that are tissue.
    ``painter`` is the score of painting tissue everywhere; ``skill`` = (dice - painter) /
    (1 - painter) is what the model adds to it.
    """
    total = pairs.sum(0)
    chosen = list(named)
    true = int(total[chosen].sum())
    predicted = int(total[:, chosen].sum())
    hit = int(total[chosen][:, chosen].sum())
    if not true:
        return {"dice": None, "painter": None, "skill": None, "warning": "no tissue in truth"}
    dice = 2 * hit / (true + predicted)
    painter = 2 * true / (true + int(total.sum()))
    skill = (dice - painter) / (1 - painter) if painter < 1 else None
    warning = None
    if skill is not None and skill < 0.2:
        warning = (
            f"tissue Dice {dice:.2f} is {'hardly' if dice > painter else 'no'} more than painting "
            f"tissue everywhere ({painter:.2f})"
        )
    elif np.isfinite(per_class_mean) and dice > per_class_mean + 0.2:
        warning = (
            f"it looks like {dice:.2f} because tissue is easy; per class it is {per_class_mean:.2f}"
        )
    return {
        "dice": dice,
        "painter": painter,
        "skill": skill,
        "misleading": True,
        "warning": warning,
    }


def region_accuracy(counts: np.ndarray, mean_classes: Sequence[int]) -> dict[str, Any]:
    """Share of (ROI, class present) pairs whose ground-truth region is mostly given its own label.

    ``counts`` int64 [ROI, K, K] (true, predicted) or [ROI, K, K + 1]: a region that is mostly given
    no class is wrong.
    """
    chosen = list(mean_classes)
    present = counts[:, chosen].sum(2) > 0
    right = (counts[:, chosen].argmax(2) == np.array(chosen)) & present
    total = int(present.sum())
    return {"accuracy": int(right.sum()) / total if total else None, "regions": total}


def confusion_table(counts: np.ndarray, names: Sequence[str], top: int = 5) -> dict[str, Any]:
    """Summed counts [K, K] (or [K, K + 1]: the last column is no class), normalised by row and by
    column, and the most confused pairs."""
    total = counts.sum(0)
    rows = ratio(total, np.broadcast_to(total.sum(1, keepdims=True), total.shape))
    columns = ratio(total, np.broadcast_to(total.sum(0, keepdims=True), total.shape))
    wrong = np.where(np.eye(*total.shape) > 0, 0.0, np.nan_to_num(rows))
    order = np.argsort(-wrong, axis=None, kind="stable")[:top]
    pairs = []
    for flat in order:
        true, predicted = divmod(int(flat), total.shape[1])
        if wrong[true, predicted] > 0:
            called = f"called {names[predicted]}" if predicted < len(names) else "given no class"
            pairs.append(f"{wrong[true, predicted]:.0%} of {names[true]} was {called}")
    return {
        "names": list(names),
        "counts": total,
        "by_truth": rows,
        "by_prediction": columns,
        "most_confused": pairs,
    }


def spread(
    triple: Triple, mean_classes: Sequence[int], rois: Sequence[str], institutes: Sequence[str]
) -> dict[str, Any]:
    """How per-ROI Dice varies: per class and for the ROI mean; worst ROIs; institutes."""
    dice = dice_of(triple)
    means = nanmean(dice[:, list(mean_classes)].T)
    order = [i for i in np.argsort(means, kind="stable") if np.isfinite(means[i])]
    sites: dict[str, list[float]] = {}
    for site, value in zip(institutes, means, strict=True):
        if np.isfinite(value):
            sites.setdefault(site, []).append(float(value))
    return {
        "classes": [_five(dice[:, index]) for index in range(dice.shape[1])],
        "roi_mean": _five(means),
        "worst": [{"roi": rois[i], "mean_dice": float(means[i])} for i in order[:5]],
        "institutes": {
            site: {"rois": len(v), "mean_dice": float(np.mean(v))}
            for site, v in sorted(sites.items())
        },
    }


def _five(values: np.ndarray) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {"rois": 0, "mean": None, "sd": None, "quartiles": None}
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return {
        "rois": len(known),
        "mean": float(known.mean()),
        "sd": sd,
        "quartiles": np.quantile(known, [0.25, 0.5, 0.75]),
    }
