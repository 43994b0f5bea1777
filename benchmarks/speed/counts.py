"""This harness's counts against its peers, on one 4096 x 3200 pair of 7 labels, in one process.

    python benchmarks/speed/counts.py

Times are the best of several runs; what counts is their ratio within this run. Results must be
identical.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchbcss.scoring import confusion_counts

CLASSES = 7


def pair(height: int = 4096, width: int = 3200) -> tuple[np.ndarray, np.ndarray]:
    """Blocky labels, as tissue is, and a prediction that is wrong in a fifth of the pixels."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, CLASSES, (height // 64 + 1, width // 64 + 1), dtype=np.uint8)
    target = np.kron(blocks, np.ones((64, 64), np.uint8))[:height, :width].copy()
    wrong = rng.random(target.shape) < 0.2
    prediction = np.where(wrong, rng.integers(0, CLASSES, target.shape, dtype=np.uint8), target)
    return target, prediction


def best(work: Callable[[], Any], runs: int) -> tuple[float, Any]:
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return min(times), result


def measure(peers: bool = True) -> dict[str, float]:
    """Seconds by name. Raises AssertionError where a peer's counts differ from ours."""
    target, prediction = pair()
    a, b = np.empty_like(target), np.empty_like(prediction)

    def copy() -> None:
        np.copyto(a, target)
        np.copyto(b, prediction)

    seconds = {}
    seconds["copy of both"], _ = best(copy, 20)
    seconds["benchbcss"], ours = best(lambda: confusion_counts(target, prediction, CLASSES), 10)
    if not peers:
        return seconds
    from sklearn.metrics import confusion_matrix

    seconds["scikit-learn"], theirs = best(
        lambda: confusion_matrix(target.reshape(-1), prediction.reshape(-1)), 2
    )
    assert (theirs == ours).all()
    try:
        import torch
        from torchmetrics.functional.classification import multiclass_confusion_matrix
    except ImportError:
        return seconds
    tensors = torch.from_numpy(prediction), torch.from_numpy(target)
    seconds["torchmetrics"], theirs = best(
        lambda: multiclass_confusion_matrix(*tensors, num_classes=CLASSES), 2
    )
    assert (theirs.numpy() == ours).all()
    return seconds


if __name__ == "__main__":
    found = measure()
    own = found["benchbcss"]
    print(json.dumps({name: round(value * 1000, 2) for name, value in found.items()}), "ms")
    print(f"benchbcss takes {own / found['copy of both']:.1f} times the copy of both maps")
    for name in ("scikit-learn", "torchmetrics"):
        if name in found:
            print(f"{name} takes {found[name] / own:.0f} times as long as benchbcss")
