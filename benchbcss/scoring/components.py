"""Objects: 8-connected components of truth and prediction, matched one to one.

A component's area counts known pixels only. Components under 50 um^2, or with more than half of
their pixels ignored, are dropped. Two match when their IoU is above 0.5, which can hold for one
counterpart only. Areas and overlaps are sums over runs of pixels in which neither side changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from benchbcss.contract import IGNORE
from benchbcss.scoring.runs import components
from benchbcss.scoring.threads import on_threads

SMALLEST = 50.0  # um^2
BINS = (500.0, 2_000.0, 10_000.0)  # um^2, between small, medium, large and very large
BIN_NAMES = ("<500", "500-2000", "2000-10000", ">10000")
MATCH = 0.5  # IoU, exclusive
COVERED = 0.5  # share of a true component under predicted pixels of its class
COUNTERPART = 0.1  # share of a component under another that makes it that one's counterpart
_THREADED = 1 << 20  # pixels; with fewer, starting threads takes longer than it saves (measured)


@dataclass(frozen=True)
class Objects:
    """The kept components of one side of one ROI, as columns of equal length.

    ``label`` class, ``area`` known pixels, ``matched`` bool; ``covered`` share of a true component
    under predicted pixels of its class (0 for predictions); ``counterparts``: the components of the
    other side that this one covers by at least 10 % of their own area. Two or more are a split of a
    true component, a merge by a predicted one.
    """

    label: np.ndarray
    area: np.ndarray
    matched: np.ndarray
    covered: np.ndarray
    counterparts: np.ndarray


def match_objects(
    target: np.ndarray, prediction: np.ndarray, classes: Sequence[int], mpp: float
) -> tuple[Objects, Objects]:
    """Truth's and prediction's objects in uint8 [H, W] maps, for the labels in ``classes``."""
    true, predicted = on_threads(
        lambda labels: components(labels, classes), (target, prediction), target.size > _THREADED
    )
    starts = np.flatnonzero(true.change | predicted.change)
    runs = np.diff(starts, append=target.size)
    row, column = true.at(starts), predicted.at(starts)
    true_label, found_label = true.labels, predicted.labels
    known = target.reshape(-1)[starts] != IGNORE

    true_area = _sum(row, runs, len(true_label))
    found_known = _sum(column[known], runs[known], len(found_label))
    unknown = _sum(column[~known], runs[~known], len(found_label))
    smallest = SMALLEST / mpp**2
    true_kept = true_area >= smallest
    found_kept = (found_known >= smallest) & (unknown <= found_known)  # at most half ignored
    true_kept[0] = found_kept[0] = False  # id 0 is no component

    same = (row > 0) & (true_label[row] == found_label[column])
    overlap = sparse.coo_array(
        (runs[same], (row[same], column[same])), shape=(len(true_label), len(found_label))
    )
    pairs = overlap.tocsr().tocoo()  # summed
    row, column, shared = pairs.row, pairs.col, pairs.data
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


def _sum(ids: np.ndarray, pixels: np.ndarray, count: int) -> np.ndarray:
    """int64 [count]: pixels by id. Sums in float64 are exact below 2^53."""
    return np.bincount(ids, pixels, count).astype(np.int64)


def bin_of(area: np.ndarray, mpp: float) -> np.ndarray:
    """Which of the four size bins each area (pixels) falls in; the last is above its bound."""
    size = np.asarray(area) * mpp**2
    return np.searchsorted(BINS[:-1], size, side="right") + (size > BINS[-1])


def summarise(
    rois: Sequence[tuple[Objects, Objects]],
    known_pixels: Sequence[int],
    present: np.ndarray,
    label: int,
    mpp: float,
) -> dict[str, Any]:
    """What the objects of one class say over all ROIs. ``present`` bool [ROI]: the class is in
    truth; ``known_pixels`` gives the area that false components are counted against."""
    true_objects = [t for t, _ in rois]
    predicted_objects = [f for _, f in rois]

    def gather(side: list[Objects], name: str) -> np.ndarray:
        parts = [getattr(objects, name)[objects.label == label] for objects in side]
        return np.concatenate(parts) if parts else np.empty(0)

    matched, area = gather(true_objects, "matched").astype(bool), gather(true_objects, "area")
    covered, splits = gather(true_objects, "covered"), gather(true_objects, "counterparts")
    found_matched = gather(predicted_objects, "matched").astype(bool)
    merges = gather(predicted_objects, "counterparts")
    total, hits, predicted = len(matched), int(matched.sum()), len(found_matched)
    false = predicted - int(found_matched.sum())
    bins = bin_of(area, mpp)
    clean = [not (f.label == label).any() for f in predicted_objects]
    absent = int((~present).sum())
    square_mm = float(sum(known_pixels)) * mpp**2 / 1e6
    return {
        "truth": total,
        "predicted": predicted,
        "matched": hits,
        "recall": _share(hits, total),
        "precision": _share(hits, predicted),
        "f1": _share(2 * hits, total + predicted),
        "recall_by_size_um2": {
            name: {
                "truth": int((bins == index).sum()),
                "recall": _share(int(matched[bins == index].sum()), int((bins == index).sum())),
            }
            for index, name in enumerate(BIN_NAMES)
        },
        "recall_covered_half": _share(int((covered >= COVERED).sum()), total),
        "false_per_mm2": false / square_mm if square_mm else None,
        "splits": int((splits >= 2).sum()),
        "merges": int((merges >= 2).sum()),
        "clean_rois_without_class": {
            "clean": sum(c for c, p in zip(clean, present, strict=True) if not p),
            "of": absent,
        },
    }


def _share(top: int, bottom: int) -> float | None:
    return top / bottom if bottom else None
