"""The training and validation ROIs as a data set in nnU-Net's raw format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchbcss.contract import IGNORE, Task
from benchbcss.io import write_json

DATASET = "Dataset001_benchbcss"
#: image uint8 [H, W, 3] and target uint8 [H, W] of an ROI, with its name
Rois = Iterator[tuple[str, np.ndarray, np.ndarray]]


def labels(task: Task) -> tuple[dict[str, int], list[int]]:
    """nnU-Net's labels by name, and for each class of ``task`` the label that stands for it.

    The one class outside the mean is the background; where there is not one, no pixel is
    background. The ignored are the highest label, as nnU-Net asks.
    """
    outside = [label for label in range(task.num_classes) if label not in task.mean_classes]
    background = outside[0] if len(outside) == 1 else None
    inside = [label for label in range(task.num_classes) if label != background]
    of_class = {label: place for place, label in enumerate(inside, start=1)}
    if background is not None:
        of_class[background] = 0
    numbers = [of_class[label] for label in range(task.num_classes)]
    named = {f"{task.class_names[label]}": of_class[label] for label in inside}
    return {"background": 0, **named, "ignore": len(inside) + 1}, numbers


def export(
    folder: Path, task: Task, channels: Sequence[str], training: Rois, validation: Rois
) -> dict[str, Any]:
    """Write ``folder/raw`` and the split ``folder/splits_final.json`` whose fold 0 is ours.

    ROIs become ``case_00000`` and so on, since their names may hold what nnU-Net's may not; the
    names are in ``folder/cases.json``. Returns that split.
    """
    named, numbers = labels(task)
    lookup = np.full(256, named["ignore"], np.uint8)
    lookup[: task.num_classes] = numbers
    assert task.ignore_index == IGNORE
    raw = folder / "raw" / DATASET
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    cases: dict[str, str] = {}
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for part, rois in (("train", training), ("val", validation)):
        for roi, image, target in rois:
            case = f"case_{len(cases):05d}"
            Image.fromarray(image).save(raw / "imagesTr" / f"{case}_0000.png", compress_level=1)
            Image.fromarray(lookup[target]).save(raw / "labelsTr" / f"{case}.png")
            cases[case] = roi
            parts[part].append(case)
    dataset = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": named,
        "numTraining": len(cases),
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    write_json(raw / "dataset.json", dataset, listed=False)
    write_json(folder / "cases.json", cases, listed=False)
    write_json(folder / "splits_final.json", [parts], listed=False)
    return dataset
