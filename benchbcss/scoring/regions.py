"""How well regions were named: accuracy over (ROI, class) pairs, balanced accuracy, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbcss.scoring.intervals import region_interval
from benchbcss.scoring.metrics import nanmean, ratio


@dataclass(frozen=True)
class RegionScore:
    """``accuracy`` over regions with its 95 % interval, clustered by ROI, or the ``reason`` why
    there is none; ``balanced`` is the mean recall of the classes present; ``confusion`` int64
    [C, C + 1] (true, chosen; last: nothing was found, which counts as wrong)."""

    accuracy: float
    interval: tuple[float, float] | None
    effective_rois: float
    reason: str | None
    balanced: float
    confusion: np.ndarray
    regions: int


def region_score(
    rois: Sequence[str], true: Sequence[int], chosen: Sequence[int], num_classes: int
) -> RegionScore:
    """One entry per region: its ROI, its class 0..C-1, and the class chosen (-1: nothing)."""
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    np.add.at(confusion, (np.asarray(true, int), np.asarray(chosen, int)), 1)
    hit = np.diagonal(confusion)
    interval = region_interval(rois, [a == b for a, b in zip(true, chosen, strict=True)])
    return RegionScore(
        accuracy=float(ratio(np.array(hit.sum()), np.array(confusion.sum()))),
        interval=interval.bounds,
        effective_rois=interval.effective_rois,
        reason=interval.reason,
        balanced=float(nanmean(ratio(hit, confusion.sum(1)))),
        confusion=confusion,
        regions=len(true),
    )
