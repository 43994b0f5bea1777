"""Naming regions by logistic regressions fitted on the training ROIs: ``probe`` on embeddings of
the encoder, ``clip_probe`` on CLIP's. (``clip``, by text alone, is the core's.)"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss.inference.clip import Clip, crop
from benchbcss.inference.labellers import ClipNames, grid
from benchbcss.protocols import Labeller, Names, Scene
from benchbcss.suites import ClipSpec
from benchbcss_sam2.network import CELL, Probe


class EmbeddingNames:
    """A probe on embeddings float32 [D, h, w] of one image, pooled over the region."""

    def __init__(self, probe: Probe, features: Tensor) -> None:
        self.probe, self.features = probe, features

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


class Probed(Labeller):
    """``probe``: of the backend's embeddings."""

    def module(self, features: int) -> Probe:
        return Probe(len(self.classes), features)

    def fit(
        self, learned: nn.Module, scenes: Iterable[tuple[Scene, np.ndarray]], seed: int
    ) -> dict[str, Any]:
        assert isinstance(learned, Probe)
        data = ProbeData()
        for scene, target in scenes:
            data.add_cells(scene.features(), target, len(self.classes))
        return data.fit(learned, self.settings["probe_cells"], seed)

    def open(self, scene: Scene) -> Names:
        assert isinstance(scene.learned, Probe)
        return EmbeddingNames(scene.learned, scene.features())


class ClipProbed(Labeller):
    """``clip_probe``: of CLIP's embeddings of crops."""

    def unavailable(self) -> str | None:
        problem: str | None = self.context.clip.problem()
        return f"needs CLIP: {problem}" if problem else None

    def module(self, features: int) -> Probe:
        """As wide as CLIP's embeddings; without CLIP it is never used."""
        clip = self.context.clip
        width = 1 if clip.problem() else int(clip.load().dimension)
        return Probe(len(self.classes), width)

    def fit(
        self, learned: nn.Module, scenes: Iterable[tuple[Scene, np.ndarray]], seed: int
    ) -> dict[str, Any]:
        assert isinstance(learned, Probe)
        data, clip, side = ProbeData(), self.context.clip, self.settings["clip_cells"]
        for scene, target in scenes:
            data.add_crops(clip.load(), scene.image, target, clip.settings, side, len(self.classes))
        return data.fit(learned, self.settings["probe_cells"], seed)

    def open(self, scene: Scene) -> Names:
        clip, side = self.context.clip, self.settings["clip_cells"]
        return ClipNames(clip.load(), [], scene.image, clip.settings, side, scene.learned)


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
        for tile, tile_target in zip(grid(image, side), grid(target, side), strict=True):
            counts = np.bincount(tile_target.reshape(-1), minlength=256)[:num_classes]
            if counts.max() >= 0.6 * tile_target.size:
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
        per_class = max(1, limit // len(classes))
        chosen = np.concatenate(
            [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in classes]
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
