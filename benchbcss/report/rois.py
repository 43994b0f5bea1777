"""Dice of each ROI, by scoring's own functions from a run's stored tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchbcss.board.model import Row
from benchbcss.errors import BenchError
from benchbcss.tracks import TRACKS

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class RoiScores:
    """``dice`` float64 [ROI, C] of the classes in the mean, NaN where an ROI has none of the class;
    ``means`` [ROI] over the classes that an ROI has. None, and ``reason``, where the tables are
    gone or damaged."""

    rois: Sequence[str] = ()
    classes: Sequence[str] = ()
    dice: np.ndarray | None = None
    means: np.ndarray | None = None
    reason: str = ""

    def ranked(self) -> list[int]:
        """ROIs with a defined mean, best first."""
        if self.means is None:
            return []
        order = sorted(range(len(self.rois)), key=lambda i: (-self.means[i], self.rois[i]))  # type: ignore[index]
        return [i for i in order if self.means[i] == self.means[i]]  # NaN is not equal to itself

    def chosen(self) -> list[tuple[str, int]]:
        """Best, median and worst ROI, each once: (which it is, its index)."""
        order = self.ranked()
        places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
        wanted: dict[int, list[str]] = {}
        for name, place in places.items() if order else ():
            wanted.setdefault(order[place], []).append(name)
        return [(" and ".join(names), index) for index, names in wanted.items()]


def scores_of(row: Row) -> RoiScores:
    """Never raises: a report is made of what there is."""
    from benchbcss.scoring.metrics import dice_of, nanmean

    try:
        rois, triple = TRACKS[row.track].triple(row.run, row.scores)
    except (BenchError, KeyError, OSError) as error:
        return RoiScores(reason=str(error))
    dice = dice_of(triple)
    return RoiScores(rois, row.scores.classes, dice, nanmean(dice.T))
