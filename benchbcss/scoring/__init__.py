"""Scoring: integer counts, and pure functions of them. numpy and Pillow only."""

from benchbcss.scoring.counts import (
    IGNORE,
    binary_counts,
    confusion_counts,
    pair_counts,
    prompted_counts,
)
from benchbcss.scoring.metrics import (
    Score,
    Triple,
    per_roi,
    per_roi_prompted,
    pooled,
    pooled_prompted,
)

__all__ = [
    "IGNORE",
    "Score",
    "Triple",
    "binary_counts",
    "confusion_counts",
    "pair_counts",
    "per_roi",
    "per_roi_prompted",
    "pooled",
    "pooled_prompted",
    "prompted_counts",
]
