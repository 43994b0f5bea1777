"""Label maps as runs: stretches of one row with one label, in the order of the rows.

Tissue has few runs for its pixels, and what holds for a run holds for each of its pixels. So
components are found by joining runs of neighbouring rows, all classes in one pass. A map of noise
has as many runs as pixels; there OpenCV labels pixels instead, class by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

_DENSE = 16  # pixels per run: below, labelling pixels is faster (measured)


def changes(labels: np.ndarray) -> np.ndarray:
    """bool [H, W], True at the first pixel of each run."""
    change = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=change[:, 1:])
    return change


@dataclass(frozen=True)
class Components:
    """8-connected components of some labels of a map.

    ``change`` bool [H, W] is True where a run begins; ``run_ids`` holds the component of each run,
    0 where its label is not wanted; ``labels`` the label of each component, -1 for number 0.
    Components are numbered label by label, in the order of their first pixels.
    """

    change: np.ndarray
    run_ids: np.ndarray
    labels: np.ndarray

    def at(self, starts: np.ndarray) -> np.ndarray:
        """Component ids at sorted flat pixel positions, which include every first pixel."""
        return self.run_ids[np.cumsum(self.change.reshape(-1)[starts]) - 1]


def components(labels: np.ndarray, classes: Sequence[int]) -> Components:
    """Those of ``classes`` in uint8 [H, W]."""
    change = changes(labels)
    starts = np.flatnonzero(change)
    run_labels = labels.reshape(-1)[starts]
    place = np.full(256, -1)  # of a label among the classes
    place[list(classes)] = np.arange(len(classes))
    if len(starts) * _DENSE < labels.size:
        joined = _by_runs(starts, run_labels, labels.shape)
    else:
        joined = _by_pixels(labels, starts, run_labels, classes)
    wanted = np.flatnonzero(place[run_labels] >= 0)
    run_ids = np.zeros(len(starts), np.int64)
    if not len(wanted):
        return Components(change, run_ids, np.array([-1]))
    joined = joined[wanted]
    first = np.full(int(joined.max()) + 1, -1)
    first[joined[::-1]] = wanted[::-1]  # the last one written stays: the first run
    leads = np.zeros(len(starts), bool)  # runs that are their component's first
    leads[first[first >= 0]] = True
    leaders = np.flatnonzero(leads)
    order = np.argsort(place[run_labels[leaders]].astype(np.uint8), kind="stable")
    leaders = leaders[order]
    number = np.zeros(len(starts), np.int64)  # of a component, by its first run
    number[leaders] = np.arange(1, len(leaders) + 1)
    run_ids[wanted] = number[first[joined]]
    return Components(change, run_ids, np.concatenate([[-1], run_labels[leaders]]))


def _by_runs(starts: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """int [runs]: equal where runs are connected; labels that are not wanted are joined as well."""
    height, width = shape
    ends = np.append(starts[1:], height * width)
    row = starts // width
    # Runs of the row above that reach from one pixel before this one to one pixel behind it.
    low = np.searchsorted(ends, starts - width - 1, "right")
    high = np.searchsorted(starts, ends - width, "right")
    begin = np.searchsorted(starts, np.arange(height) * width)
    low = np.maximum(low, begin[np.maximum(row - 1, 0)])
    high = np.minimum(high, begin[row])
    above = np.where(row > 0, np.maximum(high - low, 0), 0)
    below = np.repeat(np.arange(len(starts)), above)
    upper = np.arange(len(below)) + np.repeat(low - np.cumsum(above) + above, above)
    same = labels[below] == labels[upper]
    below, upper = below[same], upper[same]
    pointer = np.searchsorted(below, np.arange(len(starts) + 1))  # ``below`` is sorted
    graph = sparse.csr_array(
        (np.ones(len(upper), np.int8), upper, pointer), shape=(len(starts), len(starts))
    )
    joined: np.ndarray = csgraph.connected_components(graph, directed=False)[1]
    return joined


def _by_pixels(
    labels: np.ndarray, starts: np.ndarray, run_labels: np.ndarray, classes: Sequence[int]
) -> np.ndarray:
    """int [runs] as ``_by_runs``, 0 for labels that are not wanted."""
    joined = np.zeros(len(starts), np.int64)
    count = 1
    for label in classes:
        mine = run_labels == label
        if mine.any():
            mask = (labels == label).view(np.uint8)
            numbered, ids = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
            joined[mine] = ids.reshape(-1)[starts[mine]] + (count - 1)
            count += numbered - 1
    return joined
