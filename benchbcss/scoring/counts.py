"""Integer counts of (true, predicted) pixel pairs: everything pixel-wise follows from them.

Counts are int64: a BCSS ROI can have more pixels than float32 has exact integers (2^24).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from benchbcss.contract import IGNORE
from benchbcss.scoring.threads import on_threads

_CHUNK = 1 << 20  # pixels per pass: small enough for the cache, large enough to be worth a call
_THREADED = 2 << 20  # pixels; with fewer, starting threads takes longer than it saves (measured)
_SMOOTH = 16  # pixels per run of equal pairs, above which runs are counted faster than pixels


def pair_counts(
    target: np.ndarray, prediction: np.ndarray, num_classes: int, abstaining: bool = False
) -> np.ndarray:
    """int64 [K + 1, K]: pixels by true label (rows; the last row is what is ignored) and predicted.

    ``target`` uint8 [H, W] has labels 0..K-1 and 255 where ignored, ``prediction`` uint8 [H, W]
    labels 0..K-1; memory maps are read once, in pieces. With ``abstaining`` a prediction may also
    be 255, which is no class: [K + 1, K + 1], those pixels in the last column. They count as true
    pixels that were missed, and as predicted ones of no class. Raises ValueError for other values,
    shapes and dtypes. K is at most 255.
    """
    _check(target, prediction)
    columns = num_classes + abstaining
    count = _nibbles if num_classes < 16 else _general

    def count_piece(top: int) -> np.ndarray | None:
        piece = target[top : top + rows], prediction[top : top + rows]
        # 255 becomes 0 when 1 is added, so that one comparison finds every other value.
        odd = _highest(piece[0], 1) > num_classes
        odd |= _highest(piece[1], abstaining) >= columns
        return None if odd else count(*piece, num_classes, columns)

    counts = np.zeros((num_classes + 1, columns), np.int64)
    rows = max(1, _CHUNK // max(1, target.shape[1]))
    for part in on_threads(count_piece, range(0, target.shape[0], rows), target.size > _THREADED):
        if part is None:
            raise ValueError(_what_is_wrong(target, prediction, num_classes, abstaining))
        counts += part
    return counts


def confusion_counts(target: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 [K, K]: ``pair_counts`` without the ignored pixels."""
    return pair_counts(target, prediction, num_classes)[:-1]


def binary_counts(target: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """int64 [4]: TP, FP, FN, TN of boolean masks [H, W] where ``valid``."""
    true = int(np.count_nonzero(target & valid))
    positive = int(np.count_nonzero(predicted & valid))
    hit = int(np.count_nonzero(target & predicted & valid))
    total = int(np.count_nonzero(valid))
    return np.array([hit, positive - hit, true - hit, total - true - positive + hit], np.int64)


def prompted_counts(
    target: np.ndarray, predicted: Mapping[int, np.ndarray], classes: Sequence[int]
) -> np.ndarray:
    """int64 [C, 4]: TP, FP, FN, TN of each class's mask in ``found`` against ``target`` uint8
    [H, W]; zeros for a class that ``target`` does not have, which is not prompted."""
    valid = target != IGNORE
    rows = np.zeros((len(classes), 4), np.int64)
    for index, label in enumerate(classes):
        mask = target == label
        if label in predicted and mask.any():
            rows[index] = binary_counts(mask, predicted[label], valid)
    return rows


def _highest(labels: np.ndarray, added: int) -> int:
    """The highest of ``labels`` + ``added`` in uint8, in which 255 + 1 is 0."""
    return int((labels + np.uint8(added) if added else labels).max(initial=0))


def _nibbles(
    target: np.ndarray, prediction: np.ndarray, num_classes: int, columns: int
) -> np.ndarray:
    """Up to 15 labels: true and predicted label share one byte, and Pillow counts bytes fast.

    Half a byte keeps labels as they are and makes 255 to 15.
    """
    packed = np.multiply(target, np.uint8(16))  # faster than a shift by 4
    np.bitwise_or(packed, prediction & 15 if columns > num_classes else prediction, out=packed)
    table = _histogram(packed.reshape(-1)).reshape(16, 16)
    return _chosen(table, num_classes, columns)


def _chosen(table: np.ndarray, num_classes: int, columns: int) -> np.ndarray:
    """The labels of a table whose last row and column belong to 255."""
    rows, kept = (np.r_[:num_classes, side - 1] for side in table.shape)
    chosen: np.ndarray = table[rows[:, None], kept[:columns]]
    return chosen


def _histogram(values: np.ndarray) -> np.ndarray:
    """int64 [256] of uint8 [N].

    Read as four-band pixels: neighbours in tissue are mostly equal, and four tables side by side
    need not wait for one another's last increment (2.5 times faster than one, measured).
    """
    whole = len(values) // 4
    counts = np.bincount(values[whole * 4 :], minlength=256)
    if whole:
        bands = Image.frombuffer("RGBA", (whole, 1), values, "raw", "RGBA", 0, 1)
        counts = counts + np.array(bands.histogram(), np.int64).reshape(4, 256).sum(0)
    return counts


def _general(
    target: np.ndarray, prediction: np.ndarray, num_classes: int, columns: int
) -> np.ndarray:
    """Any number of labels: true and predicted label share two bytes. Up to 31 labels need five
    bits, in which 255 becomes 31; then the table stays in the fastest cache."""
    side = 32 if num_classes < 32 else 256
    pairs = np.multiply(target.reshape(-1), side, dtype=np.uint16)
    labels = prediction.reshape(-1)
    pairs |= labels & np.uint8(side - 1) if columns > num_classes else labels
    bins = 256 * side
    change = pairs[1:] != pairs[:-1]
    if np.count_nonzero(change) * _SMOOTH < len(pairs):  # then runs of equal pairs are few
        starts = np.r_[0, np.flatnonzero(change) + 1]
        runs = np.diff(starts, append=len(pairs))
        table = np.bincount(pairs[starts], runs, bins)
    else:
        table = cv2.calcHist([pairs[None]], [0], None, [bins], [0, bins])
    # Both count in floats, which is exact for the pixels of one piece.
    return _chosen(table.reshape(256, side).astype(np.int64), num_classes, columns)


def _check(target: np.ndarray, prediction: np.ndarray) -> None:
    if target.shape != prediction.shape or target.ndim != 2:
        raise ValueError(
            f"target {target.shape} and prediction {prediction.shape} must be one [H, W]"
        )
    for name, array in (("target", target), ("prediction", prediction)):
        if array.dtype != np.uint8:
            raise ValueError(f"{name} must be uint8, got {array.dtype}")


def _what_is_wrong(
    target: np.ndarray, prediction: np.ndarray, num_classes: int, abstaining: bool
) -> str:
    worst = prediction[prediction >= num_classes]
    if abstaining:
        worst = worst[worst != IGNORE]
    if worst.size:
        return (
            f"the prediction has {worst.size} pixel(s) outside labels 0..{num_classes - 1}, "
            f"such as {int(worst[0])}"
        )
    odd = target[(target >= num_classes) & (target != IGNORE)]
    return f"the target has {odd.size} pixel(s) that are neither a label nor ignored"
