"""What a dataset holds: pixels, ROIs and connected components of every class, institutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from benchbcss.data.dataset import Roi
from benchbcss.data.labels import LabelMap
from benchbcss.progress import SILENT, Progress

_EIGHT = np.ones((3, 3))


def statistics(
    rois: Collection[Roi], labels: LabelMap, mpp: float, progress: Progress = SILENT
) -> dict[str, Any]:
    """As data that JSON can hold: ``rois``, ``pixels`` and ``ignored`` pixels in all, ``classes``,
    one entry for each class of the label map, and ``institutes`` {name: ROIs}.

    Components are 8-connected; their areas are in um2 at ``mpp`` um per pixel.
    """
    total = sum(roi.shape[0] * roi.shape[1] for roi in rois)
    areas = _component_areas(list(rois), labels, mpp, progress)
    pixels = np.array([roi.class_pixels(labels) for roi in rois])
    classes = [
        {
            "class": name,
            "codes": " ".join(map(str, codes)),
            "pixels": int(counts.sum()),
            "share of all pixels": round(float(counts.sum() / total), 4),
            "ROIs with it": int((counts > 0).sum()),
            "components": len(sizes),
            "median component um2": round(float(np.median(sizes)), 1) if sizes else None,
        }
        for (name, codes), counts, sizes in zip(labels.classes, pixels.T, areas, strict=True)
    ]
    return {
        "rois": len(rois),
        "pixels": total,
        "ignored": total - int(pixels.sum()),
        "mpp": mpp,
        "classes": classes,
        "institutes": dict(sorted(Counter(roi.institute for roi in rois).items())),
    }


def _component_areas(
    rois: Sequence[Roi], labels: LabelMap, mpp: float, progress: Progress
) -> list[list[float]]:
    """[K] lists: the area in um2 of each component of a class, over all ROIs."""
    areas: list[list[float]] = [[] for _ in labels.classes]
    for roi in progress.counted(rois, doing="measuring"):
        target = roi.target(labels)
        for label in range(len(labels.classes)):
            components, count = ndimage.label(target == label, _EIGHT)
            if count:
                areas[label] += list(np.bincount(components.reshape(-1))[1:] * mpp**2)
    return areas
