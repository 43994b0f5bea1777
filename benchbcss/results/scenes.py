"""An ROI, its truth and what a run predicted there, as they were when it was scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchbcss.errors import DataError

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult
    from benchbcss.results.spec import RunSpec
    from benchbcss.tracks.gallery import Scene


def scene(path: Path, spec: RunSpec, result: RunResult, key: str) -> Scene:
    """Of the prediction at ``path``, named as its ROI; ``key`` is its prompting's, '' without one.
    Raises DataError where a file is gone, or where the mask is not the one that was scored."""
    from benchbcss.data.dataset import Dataset
    from benchbcss.data.store import TileStore
    from benchbcss.tracks import gallery, pictures

    name = path.name
    source = Dataset(
        Path(spec.data_root), TileStore(Path(spec.store_root)), spec.suite.reading(), spec.sites
    )
    labels = spec.suite.labels(source.code_table())
    roi = source.rois([name], labels)[name]
    if result.data.masks.get(name, roi.mask_entry.sha256) != roi.mask_entry.sha256:
        raise DataError(
            f"The mask of {name} is not the one this run was scored against. Restore the file."
        )
    target, classes = roi.target(labels), len(labels.classes)
    array = pictures.read(path, roi.shape, classes if key else 1)
    if not key:
        return gallery.Scene.of_labels(roi.image(), target, array, labels.class_names)
    masks = pictures.unpacked(array, labels.mean_classes, target.shape[0])
    present = {label: mask for label, mask in masks.items() if (target == label).any()}
    return gallery.Scene(roi.image(), target, present, labels.class_names)
