"""The semantic track's count tables on disk, and what their columns mean.

======================  ============================================================================
``counts.parquet``      roi, true, predicted (class names), pixels, off_border: of these pixels, how
                        many lie outside the band around class borders. Ignored pixels are not here:
                        the pixels of an ROI sum to what was scored. Where label maps made elsewhere
                        give some pixels no class, these have the predicted "(none)".
``ignored.parquet``     roi, predicted, pixels: what was predicted where the target is ignored
                        (needed by tissue Dice alone).
``surface.parquet``     roi, class, true, true_near, predicted, predicted_near: surface elements,
                        and how many of them lie within the tolerance of the other side's surface.
``objects.parquet``     roi, side (truth or predicted), class, pixels, matched, covered,
                        counterparts: one row per component; see ``scoring.components.Objects``.
======================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchbcss.errors import DataError
from benchbcss.io import Coded, read_table, write_table
from benchbcss.scoring.components import Objects
from benchbcss.scoring.metrics import Triple
from benchbcss.tracks.base import Frame
from benchbcss.tracks.semantic import SemanticCounts

SIDES = ("truth", "predicted")
NONE = "(none)"  # what a pixel was called that was given no class
SURFACE = ("true", "true_near", "predicted", "predicted_near")


def write(counts: SemanticCounts, frame: Frame, run_dir: Path) -> None:
    names = frame.labels.class_names
    given = (*names, NONE)[: counts.pairs.shape[2]]
    roi, true, predicted = grid(frame.rois, names, given)
    write_table(
        run_dir / "counts.parquet",
        {
            "roi": roi,
            "true": true,
            "predicted": predicted,
            "pixels": counts.pairs[:, :-1].reshape(-1),
            "off_border": counts.off_border.reshape(-1),
        },
    )
    roi, predicted = grid(frame.rois, given)
    ignored = counts.pairs[:, -1].reshape(-1)
    write_table(
        run_dir / "ignored.parquet", {"roi": roi, "predicted": predicted, "pixels": ignored}
    )
    roi, label = grid(frame.rois, frame.labels.mean)
    surface = counts.surface.reshape(-1, 4)
    write_table(
        run_dir / "surface.parquet",
        {"roi": roi, "class": label, **dict(zip(SURFACE, surface.T, strict=True))},
    )
    write_table(run_dir / "objects.parquet", _objects(counts, frame))


def _objects(counts: SemanticCounts, frame: Frame) -> dict[str, np.ndarray | Coded]:
    parts = [part for sides in counts.objects for part in sides]
    lengths = [len(part.label) for part in parts]
    label = np.concatenate([part.label for part in parts]).astype(int)
    columns: dict[str, np.ndarray | Coded] = {
        "roi": Coded(np.repeat(np.arange(len(parts)) // 2, lengths), frame.rois),
        "side": Coded(np.repeat(np.arange(len(parts)) % 2, lengths), SIDES),
        "class": Coded(label, frame.labels.class_names),
    }
    for column, attribute in OBJECT_COLUMNS.items():
        columns[column] = np.concatenate([getattr(part, attribute) for part in parts])
    return columns


OBJECT_COLUMNS = {
    "pixels": "area",
    "matched": "matched",
    "covered": "covered",
    "counterparts": "counterparts",
}


def read(frame: Frame, run_dir: Path) -> SemanticCounts:
    rois, classes = len(frame.rois), len(frame.labels.classes)
    given = classes + int(NONE in read_table(run_dir / "counts.parquet")["predicted"])
    table = _expect(run_dir / "counts.parquet", frame, rois * classes * given)
    ignored = _expect(run_dir / "ignored.parquet", frame, rois * given)
    surface = _expect(run_dir / "surface.parquet", frame, rois * len(frame.labels.mean))
    known = table["pixels"].reshape(rois, classes, given)
    below = ignored["pixels"].reshape(rois, 1, given)
    return SemanticCounts(
        pairs=np.concatenate([known, below], 1),
        off_border=table["off_border"].reshape(rois, classes, given),
        surface=np.stack([surface[name] for name in SURFACE], 1).reshape(rois, -1, 4),
        objects=_read_objects(run_dir / "objects.parquet", frame),
    )


def _read_objects(path: Path, frame: Frame) -> list[tuple[Objects, Objects]]:
    table = read_table(path)
    place = {name: label for label, name in enumerate(frame.labels.class_names)}
    label = np.array([place[name] for name in table["class"]], np.int64)
    sides: list[list[Objects]] = []
    for side in SIDES:
        here = table["side"] == side
        sides.append([])
        for roi in frame.rois:
            rows = here & (table["roi"] == roi)
            columns = [table[column][rows] for column in OBJECT_COLUMNS]
            sides[-1].append(Objects(label[rows], *columns))
    return list(zip(*sides, strict=True))


def triple(run_dir: Path, classes: Sequence[str]) -> tuple[tuple[str, ...], Triple]:
    """ROIs, and hit, true and predicted pixels int64 [ROI, C] of ``classes``.

    The first edition kept both tracks in one file, with a row for ignored pixels."""
    path = run_dir / "counts.parquet"
    table = read_table(path)
    if "track" in table:
        kept = (table["track"] == "semantic") & (table["true"] != "ignored")
        table = {name: column[kept] for name, column in table.items()}
    rois = tuple(dict.fromkeys(table["roi"]))
    names = list(dict.fromkeys(table["true"]))
    given = len(set(table["predicted"]))
    rows = len(rois) * len(names) * given
    if len(table["roi"]) != rows or not set(classes) <= set(names):
        raise DataError(f"{path} is not of the classes of its record. Run: benchbcss rescore")
    counts = table["pixels"].reshape(len(rois), len(names), given)
    whole, chosen = Triple.of_confusion(counts), [names.index(name) for name in classes]
    return rois, Triple(*(part[:, chosen] for part in (whole.hit, whole.true, whole.predicted)))


def grid(*axes: Sequence[str]) -> list[Coded]:
    """One column per axis for the rows of a table in the order of ``array.reshape(-1)``."""
    codes = np.meshgrid(*(np.arange(len(names)) for names in axes), indexing="ij")
    return [Coded(part.reshape(-1), names) for part, names in zip(codes, axes, strict=True)]


def _expect(path: Path, frame: Frame, rows: int) -> dict[str, np.ndarray]:
    """The table, if it is of the frame's ROIs in their order. Raises DataError."""
    table = read_table(path)
    if len(table["roi"]) != rows or tuple(dict.fromkeys(table["roi"])) != frame.rois:
        raise DataError(f"{path} is of other ROIs or classes than the run. Run: benchbcss rescore")
    return table
