"""Pairs of true and predicted labels: torchmetrics and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchbcss.scoring import confusion_counts
from benchbcss.scoring.threads import alone
from benchmarks.speed.maps import pair
from benchmarks.speed.timing import OURS, Case

COPY = "copy of both maps"


def case(megapixels: float, labels: int, noise: bool = False, threads: bool = True) -> Case:
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    target, prediction = pair(megapixels, noise, labels)
    copies = np.empty_like(target), np.empty_like(prediction)
    tensors = torch.tensor(prediction), torch.tensor(target)

    def ours() -> np.ndarray:
        if threads:
            return confusion_counts(target, prediction, labels)
        with alone():
            return confusion_counts(target, prediction, labels)

    def torchmetrics() -> np.ndarray:
        return multiclass_confusion_matrix(*tensors, num_classes=labels).numpy()

    def copy() -> None:
        for mine, theirs in zip(copies, (target, prediction), strict=True):
            np.copyto(mine, theirs)

    def check(answers: Mapping[str, Any]) -> None:
        assert (answers["torchmetrics"] == answers[OURS]).all()
        if "scikit-learn" in answers:
            assert (answers["scikit-learn"] == answers[OURS]).all()

    contestants = {OURS: ours, "torchmetrics": torchmetrics, COPY: copy}
    if megapixels <= 2:  # it sorts all pixels
        from sklearn.metrics import confusion_matrix

        contestants["scikit-learn"] = lambda: confusion_matrix(
            target.reshape(-1), prediction.reshape(-1), labels=range(labels)
        )
    kind = "noise" if noise else "regions"
    where = "" if threads else ", one thread"
    return Case(f"counts, {megapixels:g} Mpx of {kind}, {labels} labels{where}", contestants, check)


def cases() -> Iterator[Case]:
    for megapixels in (1, 13):
        for labels in (7, 9, 22):
            yield case(megapixels, labels)
    yield case(13, 7, noise=True)
    yield case(13, 22, noise=True)
    yield case(13, 7, threads=False)
