"""Naming regions: ``probe`` (embeddings of the encoder), ``clip`` (text) and ``clip_probe``.

``clip`` learns nothing; the probes are logistic regressions fitted on the training ROIs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchbcss.inference.clip import Clip, crop
from benchbcss.suites import ClipSpec
from benchbcss_sam2.network import CELL, Encoded, Probe, Promptable

LABELLERS = ("probe", "clip", "clip_probe")


class Labeller(Protocol):
    """Names parts of one image of S x S px."""

    def cells(self) -> Tensor:
        """Logits [K, h, w] of a grid over the image, for what no proposal covers."""
        ...

    def regions(self, masks: Sequence[Tensor]) -> list[int]:
        """A label for each non-empty region, bool [S, S]."""
        ...


class EmbeddingLabeller:
    """A probe on embeddings, pooled over the region."""

    def __init__(self, net: Promptable, encoded: Encoded) -> None:
        self.probe, self.features = net.probe, net.features(encoded)[0]

    def cells(self) -> Tensor:
        shape = self.features.shape[-2:]
        return self.probe(self.features.flatten(1).T).T.reshape(-1, *shape)

    def regions(self, masks: Sequence[Tensor]) -> list[int]:
        chosen = []
        for mask in masks:
            weight = F.interpolate(mask[None, None].float(), self.features.shape[-2:], mode="area")[
                0, 0
            ]
            pooled = (self.features * weight).sum((1, 2)) / weight.sum()
            chosen.append(int(self.probe(pooled[None])[0].argmax()))
        return chosen


class ClipLabeller:
    """CLIP on crops; with a ``probe``, that on CLIP's image embeddings instead of text."""

    def __init__(
        self,
        clip: Clip,
        prompts: list[list[str]],
        image: np.ndarray,
        settings: ClipSpec,
        side: int,
        probe: Probe | None = None,
    ) -> None:
        self.clip, self.prompts, self.image = clip, prompts, image
        self.settings, self.side, self.probe = settings, side, probe

    def _logits(self, crops: Sequence[np.ndarray]) -> Tensor:
        if self.probe is None:
            return self.clip.logits(crops, self.prompts)
        return self.probe(self.clip.images(crops))

    def cells(self) -> Tensor:
        logits = self._logits(grid(self.image, self.side))
        return logits.T.reshape(-1, self.side, self.side)

    def regions(self, masks: Sequence[Tensor]) -> list[int]:
        crops = [crop(self.image, mask.cpu().numpy(), self.settings) for mask in masks]
        if not crops:
            return []
        chosen = self._logits([each for each in crops if each is not None]).argmax(1)
        return [int(label) for label in chosen]


def grid(image: np.ndarray, side: int) -> list[np.ndarray]:
    """``side`` x ``side`` tiles of an image [S, S, 3], row by row."""
    edges = np.linspace(0, len(image), side + 1).round().astype(int)
    pairs = list(pairwise(edges))
    return [image[top:bottom, left:right] for top, bottom in pairs for left, right in pairs]


class ProbeData:
    """Features with their labels, gathered from training ROIs, and the regression on them."""

    def __init__(self) -> None:
        self.features: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add_cells(self, features: Tensor, target: np.ndarray, num_classes: int) -> None:
        """``features`` [D, s, s] of one image and its ``target`` uint8 [S, S]: every cell that is
        mostly of one class, and the mean over each class's cells."""
        rows, columns = features.shape[-2:]
        tiles = target.reshape(rows, CELL, columns, CELL).transpose(0, 2, 1, 3)
        tiles = tiles.reshape(rows * columns, CELL * CELL)
        share = np.stack([(tiles == label).mean(1) for label in range(num_classes)], 1)
        flat = features.flatten(1).T.cpu().numpy()
        pure = share.max(1) >= 0.6
        self.features.append(flat[pure])
        self.labels.append(share[pure].argmax(1))
        for label in range(num_classes):
            weight = share[:, label]
            if weight.sum() > 0.05:  # small classes fill no cell of their own
                self.features.append((weight @ flat / weight.sum())[None].astype(np.float32))
                self.labels.append(np.array([label]))

    def add_crops(
        self,
        clip: Clip,
        image: np.ndarray,
        target: np.ndarray,
        settings: ClipSpec,
        side: int,
        num_classes: int,
    ) -> None:
        """CLIP's embeddings of each class's region, and of grid tiles mostly of one class."""
        crops, labels = [], []
        for label in range(num_classes):
            piece = crop(image, target == label, settings)
            if piece is not None:
                crops.append(piece)
                labels.append(label)
        for tile, own in zip(grid(image, side), grid(target, side), strict=True):
            counts = np.bincount(own.reshape(-1), minlength=256)[:num_classes]
            if counts.max() >= 0.6 * own.size:
                crops.append(tile)
                labels.append(int(counts.argmax()))
        if crops:
            self.features.append(clip.images(crops).cpu().numpy())
            self.labels.append(np.array(labels))

    def fit(self, probe: Probe, limit: int, seed: int) -> dict[str, Any]:
        """Logistic regression into ``probe``, on at most ``limit`` examples balanced over classes;
        classes without an example are never chosen. Returns facts for the record."""
        from sklearn.linear_model import LogisticRegression

        features, labels = np.concatenate(self.features), np.concatenate(self.labels)
        rng = np.random.default_rng(seed)
        classes = np.unique(labels)
        each = max(1, limit // len(classes))
        chosen = np.concatenate(
            [rng.permutation(np.flatnonzero(labels == label))[:each] for label in classes]
        )
        features, labels = features[chosen].astype(np.float64), labels[chosen]
        centre, scale = features.mean(0), features.std(0) + 1e-6
        weight, bias = np.zeros(tuple(probe.weight.shape)), np.full(len(probe.bias), -1e4)
        accuracy = 1.0
        if len(classes) == 1:
            bias[classes] = 0.0
        else:
            model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
            model.fit((features - centre) / scale, labels)
            if len(classes) == 2:  # scikit-learn keeps one row for two classes
                weight[classes[1]], bias[classes] = model.coef_[0], (0.0, model.intercept_[0])
            else:
                weight[classes], bias[classes] = model.coef_, model.intercept_
            accuracy = float(model.score((features - centre) / scale, labels))
        for buffer, value in (
            (probe.weight, weight),
            (probe.bias, bias),
            (probe.centre, centre),
            (probe.scale, scale),
        ):
            buffer.copy_(torch.from_numpy(value))
        return {"examples": len(labels), "training_accuracy": round(accuracy, 4)}
