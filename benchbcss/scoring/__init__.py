"""Counting and metrics: pure functions of integer arrays.

The names below are imported when they are first asked for, so that a verdict can be read without
numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "counts": ("IGNORE", "binary_counts", "confusion_counts", "pair_counts", "prompted_counts"),
    "metrics": ("Score", "Triple", "per_roi", "per_roi_prompted", "pooled", "pooled_prompted"),
}

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


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
