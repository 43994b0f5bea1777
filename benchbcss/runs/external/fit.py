"""Would a prediction's values fit the masks much better under another reading?

Labels shifted by one, a permutation, codes taken for labels: the confusion table shows all of them.
It is said, never applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
import yaml
from scipy.optimize import linear_sum_assignment

from benchbcss.contract import IGNORE
from benchbcss.data.labels import LabelMap
from benchbcss.runs.external.labels import UNKNOWN, Numbering

_ROWS = 1 << 20  # pixels per pass


class Confusion:
    """Pixels by true label and by value as the prediction stores it, ROI after ROI."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts: dict[int, np.ndarray] = {}

    def add(self, target: np.ndarray, values: np.ndarray) -> None:
        """``target`` uint8 [H, W] with 255 where ignored, ``values`` uint8 or uint16 [H, W]."""
        step = max(1, _ROWS // max(1, target.shape[1]))
        for top in range(0, target.shape[0], step):
            true = target[top : top + step]
            known = true != IGNORE
            pairs = (true[known].astype(np.int64) << 16) | values[top : top + step][known]
            for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
                row = self.counts.setdefault(int(pair) & 0xFFFF, np.zeros(self.classes, np.int64))
                row[int(pair) >> 16] += count

    @property
    def values(self) -> list[int]:
        return sorted(self.counts)

    @property
    def table(self) -> np.ndarray:
        """int64 [K, V], the columns in the order of ``values``."""
        if not self.counts:
            return np.zeros((self.classes, 0), np.int64)
        return np.stack([self.counts[value] for value in self.values], axis=1)


def mean_dice(table: np.ndarray, labels: Sequence[int], mean: Sequence[int]) -> float:
    """Mean pooled Dice of the classes ``mean`` that are true somewhere, where column i of ``table``
    int64 [K, V] counts as ``labels[i]`` (255: as none)."""
    true = table.sum(1)
    scores = []
    for label in mean:
        columns = [index for index, assigned in enumerate(labels) if assigned == label]
        total = int(true[label]) + int(table[:, columns].sum())
        if true[label]:
            scores.append(2 * int(table[label, columns].sum()) / total)
    return float(np.mean(scores)) if scores else 0.0


def permutation(table: np.ndarray, mean: Sequence[int]) -> dict[int, int]:
    """{column: label} that gives every class of ``mean`` the value with which the mean pooled Dice
    is largest; every other column goes to the class that most of its pixels are, if it is free."""
    true, painted = table.sum(1), table.sum(0)
    present = [label for label in mean if true[label]]
    if not present or not table.shape[1]:
        return {}
    dice = 2 * table[present] / (true[present, None] + painted[None])
    rows, columns = linear_sum_assignment(dice, maximize=True)
    best = {
        int(column): present[row]
        for row, column in zip(rows, columns, strict=True)
        if dice[row, column] > 0
    }
    free = [label for label in range(len(table)) if label not in best.values()]
    for column in range(table.shape[1]):
        if column not in best and free:
            best[column] = max(free, key=lambda label: int(table[label, column]))
    return best


def hint(
    confusion: Confusion, asked: Numbering, others: Mapping[str, Numbering], labels: LabelMap
) -> str | None:
    """One sentence where another reading fits much better than ``asked``; None where none does.

    ``others`` are known readings by the option that asks for them.
    """
    thresholds = _thresholds()
    table, values, mean = confusion.table, confusion.values, labels.mean_classes
    before = mean_dice(table, asked.table[values].tolist(), mean)

    def much_better(after: float) -> bool:
        return after >= thresholds["reached"] and after - before >= thresholds["gain"]

    for option, other in others.items():
        read = other.table[values]
        after = mean_dice(table, read.tolist(), mean)
        if not (read == UNKNOWN).any() and much_better(after):
            return (
                f"read with {option}, the same files would have a mean pooled Dice of {after:.3f} "
                f"instead of {before:.3f}. If that is what they are, score them again with "
                f"{option} --replace"
            )
    best = permutation(table, mean)
    after = mean_dice(table, [best.get(index, IGNORE) for index in range(len(values))], mean)
    if not much_better(after):
        return None
    names = labels.class_names
    colours = [f"#{bytes(colour).hex()}" for colour in asked.colours or ()]
    listing = ", ".join(
        f"{colours[values[column]] if colours else values[column]}: {names[label]}"
        for column, label in sorted(best.items())
        if asked.table[values[column]] != label
    )
    return (
        f"with other classes for its values the same files would have a mean pooled Dice of "
        f"{after:.3f} instead of {before:.3f} ({listing}). If your model numbers its classes "
        f"so, write that into a file and pass --labels FILE --replace"
    )


@lru_cache(maxsize=1)
def _thresholds() -> dict[str, float]:
    text = (resources.files("benchbcss.runs.external") / "fit.yaml").read_text(encoding="utf-8")
    loaded: dict[str, float] = yaml.safe_load(text)
    return loaded
