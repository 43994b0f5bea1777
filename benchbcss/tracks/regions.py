"""Naming the regions of the prompted track: ``regions.parquet``, scored later from disk.

For every (ROI, class present) there are two regions: the ground truth's (the upper line) and the
one predicted from the headline prompting. Columns: kind (ground_truth or predicted), roi, true,
chosen (class names; chosen is empty where nothing was predicted, which counts as wrong).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbcss.errors import DataError
from benchbcss.io import AGAIN, Coded, read_table, write_table
from benchbcss.results import schema
from benchbcss.scoring.regions import region_score
from benchbcss.tracks import pictures
from benchbcss.tracks.base import Frame
from benchbcss.tracks.estimates import bounds, finite, whole

if TYPE_CHECKING:
    from benchbcss.data.dataset import Roi
    from benchbcss.inference.clip import Clip, Source
    from benchbcss.progress import Progress

NAME = "regions.parquet"
KINDS = ("ground_truth", "predicted")


def name_regions(
    frame: Frame,
    rois: Mapping[str, Roi],
    folder: Path,
    run_dir: Path,
    source: Source,
    stage: Progress,
) -> dict[str, Any]:
    """Name the regions whose masks lie in ``folder``, where CLIP is available; returns the facts
    of how, or ``not_measured`` with the reason."""
    from benchbcss.inference.clip import RESIZE

    settings, classes = source.settings, frame.labels.mean
    facts: dict[str, Any] = {
        "model": settings.model,
        "prompts": settings.prompts_name,
        "margin": settings.margin,
        "outside": settings.outside,
        "resize": RESIZE,
    }
    problem = (
        "there is only one class to choose from" if len(classes) < 2 else source.problem(classes)
    )
    if problem:
        (run_dir / NAME).unlink(missing_ok=True)
        return facts | {"not_measured": problem}
    clip = source.load()
    rows: list[tuple[int, int, int, int]] = []
    stage("naming regions")
    for number, name in enumerate(stage.counted(frame.rois)):
        packed = pictures.read(folder / name, rois[name].shape, len(frame.labels.classes))
        named = _name(rois[name], packed, frame, clip, source)
        rows += [(kind, number, true, chosen) for kind, true, chosen in named]
    kind, roi, true, chosen = np.array(rows, int).reshape(-1, 4).T
    write_table(
        run_dir / NAME,
        {
            "kind": Coded(kind, KINDS),
            "roi": Coded(roi, frame.rois),
            "true": Coded(true, classes),
            "chosen": Coded(chosen, (*classes, "")),
        },
    )
    return facts | {"weights": clip.provenance}


def _name(
    roi: Roi, packed: np.ndarray, frame: Frame, clip: Clip, source: Source
) -> list[tuple[int, int, int]]:
    """(kind, true class, chosen class) of the ROI's regions as indices into ``KINDS`` and the
    classes of the mean; one past the last class where nothing was predicted."""
    from benchbcss.inference.clip import crop

    target, image = roi.target(frame.labels), roi.image()
    nothing = len(frame.labels.mean)
    entries: list[tuple[int, int, int | None]] = []
    crops: list[np.ndarray] = []
    for true, label in enumerate(frame.labels.mean_classes):
        region = target == label
        if not region.any():
            continue
        predicted = pictures.unpack(packed, label, roi.shape[0])
        for kind, mask in enumerate((region, predicted)):
            piece = crop(image, mask, source.settings)
            entries.append((kind, true, None if piece is None else len(crops)))
            if piece is not None:
                crops.append(piece)
    if not crops:
        return []
    chosen = clip.logits(crops, source.prompts(frame.labels.mean)).argmax(1)
    return [
        (kind, true, nothing if place is None else int(chosen[place]))
        for kind, true, place in entries
    ]


def score(run_dir: Path, classes: Sequence[str], facts: dict[str, Any]) -> schema.Regions:
    """How well regions were named, from ``regions.parquet``; or ``not_measured``, why not."""
    if not (run_dir / NAME).is_file():
        if "weights" in facts:  # they were named
            raise DataError(f"{run_dir / NAME} is missing. {AGAIN}.")
        why = facts.get("not_measured", "regions were not named in this run")
        return schema.Regions(not_measured=why)
    table = read_table(run_dir / NAME, AGAIN + ".")
    place = {name: index for index, name in enumerate(classes)}
    parts = {}
    for kind in KINDS:
        rows = table["kind"] == kind
        scored = region_score(
            list(table["roi"][rows]),
            [place[name] for name in table["true"][rows]],
            [place.get(name, -1) for name in table["chosen"][rows]],
            len(place),
        )
        parts[kind] = schema.NamedRegions(
            accuracy=finite(scored.accuracy),
            interval=bounds(scored.interval),
            effective_rois=round(scored.effective_rois, 12),
            reason=scored.reason,
            balanced=finite(scored.balanced),
            confusion=whole(scored.confusion),
            regions=scored.regions,
        )
    rois = len(set(table["roi"]))
    return schema.Regions(classes=list(classes), clip=facts, rois=rois, **parts)
