"""One run in words and numbers: conventions, confusions, spread, worst ROIs, institutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbcss.board.cells import interval
from benchbcss.board.exporters.layout import columns_of, pad
from benchbcss.board.model import Row
from benchbcss.names import estimand
from benchbcss.results.judge import estimands
from benchbcss.tracks.base import number

if TYPE_CHECKING:
    from benchbcss.results.schema import Distribution

CONVENTIONS = {
    "both_empty_nan": "class in neither counts as nothing",
    "both_empty_one": "as 1",
    "both_empty_zero": "as 0",
    "micro": "over all (ROI, class) pairs",
}


def lines_of(row: Row) -> list[str]:
    """Everything about one track of one run that the board has no column for; what belongs to the
    line above is indented by two more spaces."""
    scores = row.scores
    lines = [f"{row.name}, {row.result.suite.name} / {row.track}"]
    conventions = [
        f"{CONVENTIONS.get(name, name)} {number(part.mean)}"
        for name, part in scores.conventions.items()
    ]
    if conventions:
        lines.append("  other conventions (mean Dice): " + "; ".join(conventions))
    if scores.confusion:
        lines.append("  confusions: " + ("; ".join(scores.confusion.most_confused) or "none"))
    tissue = scores.tissue
    if tissue and tissue.dice is not None:
        lines.append(
            f"  tissue Dice {number(tissue.dice)}, painting tissue everywhere "
            f"{number(tissue.painter)}, skill {number(tissue.skill)}: "
            f"{tissue.warning or 'not misleading here'}"
        )
    for name, part in estimands(scores.headline).items():
        if part.mean_interval_institutes:
            lines.append(
                f"  mean ({estimand(name)}) {number(part.mean)}, 95 % over ROIs "
                f"{interval(part.mean_interval, part.mean) or '-'}, over institutes (for a new "
                f"hospital) {interval(part.mean_interval_institutes, part.mean)}"
            )
    return lines + _spread(row)


def _spread(row: Row) -> list[str]:
    spread = row.scores.spread
    if spread is None:
        return []
    lines = ["  Dice over ROIs: mean, sd, quartiles"]
    parts = {**spread.classes, "mean of an ROI": spread.roi_mean}
    widest = max(map(columns_of, parts))
    lines += [f"    {pad(name, widest)} {_distribution(part)}" for name, part in parts.items()]
    lines.append("  worst ROIs:")
    lines += [f"    {number(roi.mean_dice)} {roi.roi}" for roi in spread.worst]
    sites = [
        f"{site} {number(part.mean_dice)} ({part.rois})" for site, part in spread.institutes.items()
    ]
    return [*lines, "  institutes, mean Dice (ROIs): " + "; ".join(sites)]


def _distribution(part: Distribution) -> str:
    if not part.rois or part.quartiles is None:
        return "not in the scored ROIs"
    low, middle, high = part.quartiles
    return (
        f"{number(part.mean)} {number(part.sd)} "
        f"[{number(low)}, {number(middle)}, {number(high)}] in {part.rois} ROIs"
    )
