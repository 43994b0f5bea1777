"""Naming the regions of the prompted track: ``regions.parquet``, scored later from disk.

For every (ROI, class present) there are two regions: the ground truth's (the upper line) and the
one predicted from the headline prompting. Columns: kind (ground_truth or predicted), roi, true,
chosen (class names; chosen is empty where nothing was predicted, which counts as wrong). Naming
goes on ROI by ROI after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbcss.errors import DataError
from benchbcss.io import AGAIN, Coded, read_table, write_table
from benchbcss.results import schema
from benchbcss.scoring.regions import region_score
from benchbcss.tracks import parts, pictures
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
    how = [facts, clip.provenance, source.prompts(classes)]
    rows: list[np.ndarray] = []
    stage("naming regions")
    for number, name in enumerate(stage.counted(frame.rois)):
        decisive = [*parts.known(frame, rois[name], run_dir, [folder / name]), *how]
        make = partial(_name, rois[name], folder / name, frame, clip, source)
        named = parts.kept(run_dir, "naming", name, decisive, make)["regions"]
        rows.append(np.insert(named, 1, number, axis=1))
    kind, roi, true, chosen = np.concatenate(rows).T
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
    roi: Roi, prediction: Path, frame: Frame, clip: Clip, source: Source
) -> dict[str, np.ndarray]:
    """``regions`` int64 [N, 3]: kind, true class and chosen class of the ROI's regions, as indices
    into ``KINDS`` and the classes of the mean; one past the last class where nothing was
    predicted."""
    from benchbcss.inference.clip import crop

    packed = pictures.read(prediction, roi.shape, len(frame.labels.classes))
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
        return {"regions": np.zeros((0, 3), np.int64)}
    chosen = clip.logits(crops, source.prompts(frame.labels.mean)).argmax(1)
    rows = [
        (kind, true, nothing if place is None else int(chosen[place]))
        for kind, true, place in entries
    ]
    return {"regions": np.array(rows, np.int64)}


def score(run_dir: Path, classes: Sequence[str], facts: dict[str, Any]) -> schema.Regions:
    """How well regions were named, from ``regions.parquet``; or ``not_measured``, why not."""
    if not (run_dir / NAME).is_file():
        if "weights" in facts:  # they were named
            raise DataError(f"{run_dir / NAME} is missing. {AGAIN}.")
        why = facts.get("not_measured", "regions were not named in this run")
        return schema.Regions(not_measured=why)
    table = read_table(run_dir / NAME, AGAIN + ".")
    place = {name: index for index, name in enumerate(classes)}
    named = {}
    for kind in KINDS:
        rows = table["kind"] == kind
        scored = region_score(
            list(table["roi"][rows]),
            [place[name] for name in table["true"][rows]],
            [place.get(name, -1) for name in table["chosen"][rows]],
            len(place),
        )
        named[kind] = schema.NamedRegions(
            accuracy=finite(scored.accuracy),
            interval=bounds(scored.interval),
            effective_rois=round(scored.effective_rois, 12),
            reason=scored.reason,
            balanced=finite(scored.balanced),
            confusion=whole(scored.confusion),
            regions=scored.regions,
        )
    rois = len(set(table["roi"]))
    return schema.Regions(classes=list(classes), clip=facts, rois=rois, **named)
