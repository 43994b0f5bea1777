"""CLIP names the regions of the prompted track: ``regions.parquet``, scored later from disk.

For every (ROI, class present) there are two regions: the ground truth's (the upper line) and the
one predicted from the headline prompting. An empty prediction has no name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbcss.data.dataset import Roi
from benchbcss.data.labels import LabelMap
from benchbcss.inference.clip import RESIZE, Clip, Source, crop
from benchbcss.io import write_bytes
from benchbcss.runs import masks

if TYPE_CHECKING:
    from benchbcss.runs.session import Session

NAME = "regions.parquet"
KINDS = ("ground_truth", "predicted")


def label(session: Session, stage: Callable[..., None]) -> None:
    """Name the regions where CLIP can be had; notes say how, or why not."""
    if "prompted" not in session.tracks:
        return
    facts: dict[str, Any] = {
        "model": session.spec.clip.model,
        "prompts": session.spec.clip.prompts_name,
        "margin": session.spec.clip.margin,
        "outside": session.spec.clip.outside,
        "resize": RESIZE,
    }
    session.context.notes["clip"] = facts
    classes = session.labels.mean
    problem = (
        "there is only one class to choose from"
        if len(classes) < 2
        else session.context.clip.problem(classes)
    )
    if problem:
        facts["not_measured"] = problem
        (session.run_dir / NAME).unlink(missing_ok=True)
        return
    clip: Clip = session.context.clip.load()
    facts["weights"] = clip.provenance
    folder = masks.folder(session.run_dir, session.spec.suite.prompting.headline)
    table: list[tuple[str, str, str, str]] = []
    for number, name in enumerate(session.spec.scored, start=1):
        stage("naming regions", roi=number, of=len(session.spec.scored))
        roi = session.rois[name]
        packed = masks.read(folder / name, roi.shape)
        table += _name(roi, packed, session.labels, clip, session.context.clip)
    _write(session.run_dir / NAME, table)


def _name(
    roi: Roi, packed: np.ndarray, labels: LabelMap, clip: Clip, source: Source
) -> list[tuple[str, str, str, str]]:
    """(kind, ROI, true class, chosen class or '') of the ROI's regions."""
    target, image = roi.target(labels), roi.image()
    found: list[tuple[str, str, int | None]] = []
    crops: list[np.ndarray] = []
    for index, true in zip(labels.mean_classes, labels.mean, strict=True):
        region = target == index
        if not region.any():
            continue
        for kind, mask in zip(KINDS, (region, masks.unpack(packed, index)), strict=True):
            piece = crop(image, mask, source.settings)
            found.append((kind, true, None if piece is None else len(crops)))
            if piece is not None:
                crops.append(piece)
    if not crops:
        return []
    chosen = clip.logits(crops, source.prompts(labels.mean)).argmax(1)
    return [
        (kind, roi.name, true, "" if place is None else labels.mean[int(chosen[place])])
        for kind, true, place in found
    ]


def _write(path: Path, table: list[tuple[str, str, str, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(("kind", "roi", "true", "chosen"), zip(*table, strict=True), strict=True)
    arrays = {name: pa.array(list(values), pa.string()) for name, values in columns}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def read(run_dir: Path) -> list[dict[str, str]] | None:
    """The rows of ``regions.parquet``, or None where regions were not named."""
    path = run_dir / NAME
    if not path.is_file():
        return None
    import pyarrow.parquet as pq

    rows: list[dict[str, str]] = pq.read_table(path).to_pylist()
    return rows
