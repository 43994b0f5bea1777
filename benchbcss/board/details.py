"""One run in words and numbers: conventions, confusions, spread, worst ROIs, institutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from benchbcss.board.rows import Row

CONVENTIONS = {
    "both_empty_nan": "class in neither counts as nothing",
    "both_empty_one": "as 1",
    "both_empty_zero": "as 0",
    "micro": "over all (ROI, class) pairs",
}


def write(row: Row, title: str, stream: TextIO) -> None:
    """Everything about one track of one run that the board has no column for."""
    result = json.loads((Path(row.run) / "result.json").read_text(encoding="utf-8"))
    section = result["tracks"][row.track]
    lines = [f"{title}, {row.suite} / {row.track}"]
    lines.append("  other conventions (mean Dice): " + "; ".join(_conventions(section)))
    if section.get("confusion"):
        found = section["confusion"]["most_confused"]
        lines.append("  confusions: " + ("; ".join(found) if found else "none"))
    tissue = section.get("tissue")
    if tissue and tissue["dice"] is not None:
        lines.append(
            f"  tissue Dice {_show(tissue['dice'])}, painting tissue everywhere "
            f"{_show(tissue['painter'])}, skill {_show(tissue['skill'])}: "
            f"{tissue['warning'] or 'not misleading here'}"
        )
    for name, part in section["headline"].items():
        wider = part and part.get("mean_interval_institutes")
        if wider:
            lines.append(
                f"  mean ({name}) {_show(part['mean'])}, 95 % over ROIs "
                f"{_bounds(part['mean_interval'])}, over institutes (for a new hospital) "
                f"{_bounds(wider)}"
            )
    spread = section["spread"]
    lines.append("  Dice over ROIs: mean, sd, quartiles")
    for name, part in zip(section["all_classes"], spread["classes"], strict=True):
        lines.append(f"    {name:<14} {_five(part)}")
    lines.append(f"    {'mean of an ROI':<14} {_five(spread['roi_mean'])}")
    lines.append("  worst ROIs:")
    lines += [f"    {_show(each['mean_dice'])} {each['roi']}" for each in spread["worst"]]
    sites = [
        f"{site} {_show(part['mean_dice'])} ({part['rois']})"
        for site, part in spread["institutes"].items()
    ]
    lines.append("  institutes, mean Dice (ROIs): " + "; ".join(sites))
    stream.write("\n".join(lines) + "\n\n")


def _conventions(section: dict[str, Any]) -> list[str]:
    return [
        f"{CONVENTIONS.get(name, name)} {_show(part['mean'])}"
        for name, part in section["conventions"].items()
    ]


def _five(part: dict[str, Any]) -> str:
    if not part["rois"]:
        return "not in the scored ROIs"
    low, middle, high = part["quartiles"]
    return (
        f"{_show(part['mean'])} {_show(part['sd'])} "
        f"[{_show(low)}, {_show(middle)}, {_show(high)}] in {part['rois']} ROIs"
    )


def _bounds(bounds: list[float] | None) -> str:
    return "-" if bounds is None else f"[{_show(bounds[0])}, {_show(bounds[1])}]"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
