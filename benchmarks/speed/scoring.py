"""Everything that is counted of a predicted label map, by the tools that count one part each:

torchmetrics (pairs, twice: all pixels, and those off the border), MONAI (surface Dice), SciPy (the
border band by distances; components and their overlaps).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from benchbcss.contract import IGNORE
from benchbcss.scoring import pair_counts
from benchbcss.scoring.boundary import TOLERANCE_UM, surface_counts, without_border
from benchbcss.scoring.components import MATCH, SMALLEST, match_objects
from benchmarks.speed.maps import CLASSES, pair
from benchmarks.speed.timing import OURS, Case

MPP = 0.3
TOLERANCE = TOLERANCE_UM / MPP
LABELS = CLASSES + 1
MONAI = "MONAI, surface"
_EIGHT = np.ones((3, 3), bool)


def ours(target: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    """What the semantic track counts of an ROI."""
    inner = without_border(target, TOLERANCE)
    return {
        "pairs": pair_counts(target, prediction, LABELS),
        "off_border": pair_counts(inner, prediction, LABELS)[:-1],
        "surface": surface_counts(target, prediction, range(CLASSES), TOLERANCE),
        "objects": match_objects(target, prediction, range(CLASSES), MPP),
    }


def torchmetrics(target: np.ndarray, prediction: np.ndarray, inner: np.ndarray) -> list[np.ndarray]:
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    return [
        multiclass_confusion_matrix(
            torch.tensor(prediction).long(),
            torch.tensor(labels).long(),
            num_classes=LABELS,
            ignore_index=IGNORE,
        ).numpy()
        for labels in (target, inner)
    ]


def monai(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Surface Dice of each class, one class in memory at a time."""
    import torch
    from monai.metrics import compute_surface_dice

    scores = []
    for label in range(CLASSES):
        masks = [torch.tensor(labels == label)[None, None] for labels in (prediction, target)]
        scores.append(
            compute_surface_dice(*masks, class_thresholds=[TOLERANCE], include_background=True)
        )
    return np.array([float(score) for score in scores])


def band(target: np.ndarray) -> np.ndarray:
    """The target without what lies near a border, by SciPy's distances."""
    border = np.zeros(target.shape, bool)
    across, down = target[:, 1:] != target[:, :-1], target[1:] != target[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    near = ndimage.distance_transform_edt(~border) <= TOLERANCE
    return np.where(near, np.uint8(IGNORE), target)


def objects(target: np.ndarray, prediction: np.ndarray) -> list[tuple[int, int, int]]:
    """(true, predicted, matched) components of each class, of at least the smallest size."""
    rows = []
    for label in range(CLASSES):
        ids, areas = [], []
        for labels in (target, prediction):
            numbered, _ = ndimage.label(labels == label, _EIGHT)
            ids.append(numbered)
            areas.append(np.bincount(numbered.reshape(-1)))
        both = (ids[0] > 0) & (ids[1] > 0)
        pairs = ids[0][both].astype(np.int64) * len(areas[1]) + ids[1][both]
        overlaps, shared = np.unique(pairs, return_counts=True)
        true, predicted = np.divmod(overlaps, len(areas[1]))
        smallest = SMALLEST / MPP**2
        kept = [np.flatnonzero(area[1:] >= smallest) + 1 for area in areas]
        union = areas[0][true] + areas[1][predicted] - shared
        large = (areas[0][true] >= smallest) & (areas[1][predicted] >= smallest)
        matched = int((large & (shared > MATCH * union)).sum())
        rows.append((len(kept[0]), len(kept[1]), matched))
    return rows


def case(megapixels: float, noise: bool = False) -> Case:
    target, prediction = pair(megapixels, noise)
    inner = band(target)

    def check(answers: Mapping[str, Any]) -> None:
        mine = answers[OURS]
        pairs, off_border = answers["torchmetrics, pairs"]
        assert (mine["pairs"][:-1] == pairs).all()
        assert (mine["off_border"] == off_border).all()
        assert (answers["SciPy, band"] == without_border(target, TOLERANCE)).all()
        if MONAI in answers:
            surface = mine["surface"]
            score = (surface[:, 1] + surface[:, 3]) / (surface[:, 0] + surface[:, 2])
            np.testing.assert_allclose(score, answers[MONAI], atol=1e-6)
        true, predicted = mine["objects"]
        assert answers["SciPy, objects"] == [
            (
                int((true.label == label).sum()),
                int((predicted.label == label).sum()),
                int(true.matched[true.label == label].sum()),
            )
            for label in range(CLASSES)
        ]

    return Case(
        f"full scoring, {megapixels:g} Mpx, {'noise' if noise else 'regions'}",
        {
            OURS: lambda: ours(target, prediction),
            "torchmetrics, pairs": lambda: torchmetrics(target, prediction, inner),
            MONAI: lambda: monai(target, prediction),
            "SciPy, band": lambda: band(target),
            "SciPy, objects": lambda: objects(target, prediction),
        },
        check,
        total="the peers' sum",
    )


def cases(megapixels: float = 20) -> Iterator[Case]:
    yield case(megapixels)
    yield case(megapixels, noise=True)
