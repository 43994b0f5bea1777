"""The prompted track's count table on disk, ``prompted.parquet``, and what its columns mean.

``prompting`` (its key), ``roi``, ``class``; ``tp``, ``fp``, ``fn``, ``tn``: pixels of the class's
mask, over the pixels of the ROI that are not ignored, all 0 where the ROI does not have the class
(it is not prompted); ``reached``: pixels of the class that the prompting's scope points at. Masks
of different classes may overlap and every prompting has rows of its own, so only sums within one
prompting and class have a meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchbcss.contract import Prompting
from benchbcss.errors import DataError
from benchbcss.io import read_table, write_table
from benchbcss.scoring.metrics import Triple
from benchbcss.tracks.base import Frame
from benchbcss.tracks.prompted import PromptedCounts
from benchbcss.tracks.semantic_tables import grid

NAME = "prompted.parquet"
KINDS = ("tp", "fp", "fn", "tn")


def write(counts: PromptedCounts, frame: Frame, run_dir: Path) -> None:
    keys = [prompting.key for prompting in counts.scores]
    key, roi, label = grid(keys, frame.rois, frame.labels.mean)
    scores = np.concatenate([part.reshape(-1, 4) for part in counts.scores.values()])
    reached = [counts.reached[prompting.scope].reshape(-1) for prompting in counts.scores]
    write_table(
        run_dir / NAME,
        {
            "prompting": key,
            "roi": roi,
            "class": label,
            **dict(zip(KINDS, scores.T, strict=True)),
            "reached": np.concatenate(reached),
        },
    )


def triple(run_dir: Path, classes: Sequence[str], key: str) -> tuple[tuple[str, ...], Triple]:
    """ROIs, and hit, true and predicted pixels int64 [ROI, C] of ``classes`` under the prompting
    ``key``. The first edition kept both tracks in one file, a row for each of TP, FP, FN and TN."""
    path = run_dir / NAME
    old = not path.is_file()
    table = read_table(run_dir / "counts.parquet" if old else path)
    kept = table["prompting"] == key
    if old:
        kept &= table["track"] == "prompted"
    rois = tuple(dict.fromkeys(table["roi"][kept]))
    names = list(dict.fromkeys(table["true" if old else "class"][kept]))
    shape = (len(rois), len(names), 4)
    values = table["pixels"][kept] if old else np.stack([table[k][kept] for k in KINDS], 1)
    if values.size != np.prod(shape) or not rois or not set(classes) <= set(names):
        raise DataError(f"{path} is not of the prompting of its record. Run: benchbcss rescore")
    whole, chosen = Triple.of_prompted(values.reshape(shape)), [names.index(n) for n in classes]
    return rois, Triple(*(part[:, chosen] for part in (whole.hit, whole.true, whole.predicted)))


def read(frame: Frame, run_dir: Path) -> PromptedCounts:
    path = run_dir / NAME
    table = read_table(path)
    keys = list(dict.fromkeys(table["prompting"]))
    shape = (len(keys), len(frame.rois), len(frame.labels.mean))
    if len(table["roi"]) != np.prod(shape) or tuple(dict.fromkeys(table["roi"])) != frame.rois:
        raise DataError(f"{path} is of other ROIs or classes than the run. Run: benchbcss rescore")
    scores = np.stack([table[kind] for kind in KINDS], 1).reshape(*shape, 4)
    reached = table["reached"].reshape(shape)
    promptings = [Prompting.parse(key) for key in keys]
    return PromptedCounts(
        dict(zip(promptings, scores, strict=True)),
        {p.scope: part for p, part in zip(promptings, reached, strict=True)},
    )
