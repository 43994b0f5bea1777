"""Whole maps from a promptable model: propose masks from a grid, label each region, paint.

What no proposal covers is labelled cell by cell of the embedding; both shares are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import masks_to_boxes, nms

from benchbcss_sam2.network import CELL, FEATURES, Encoded, SamNet


@dataclass
class Shares:
    """How maps came about, summed over ROIs."""

    rois: int = 0
    proposals: int = 0
    painted: float = 0.0
    dropped_large: int = 0
    by_class: dict[int, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Means per ROI; the two shares sum to 1."""
        rois = max(1, self.rois)
        return {
            "labeller": "probe",
            "rois": self.rois,
            "proposals_per_roi": round(self.proposals / rois, 2),
            "dropped_larger_than_half": self.dropped_large,
            "share_painted_by_proposals": round(self.painted / rois, 4),
            "share_painted_by_fallback": round(1 - self.painted / rois, 4),
        }


def paint(
    net: SamNet, encoded: Encoded, size: int, settings: dict[str, Any], shares: Shares
) -> np.ndarray:
    """uint8 [S, S] labels of one encoded image."""
    features = net.features(encoded)[0]
    cells = net.label(features.flatten(1).T).T.reshape(1, -1, *features.shape[-2:])
    labels = F.interpolate(cells, (size, size), mode="bilinear", align_corners=False)[0].argmax(0)
    covered = torch.zeros(size, size, dtype=torch.bool, device=labels.device)
    masks, scores = propose(net, encoded, size, settings, shares)
    for index in scores.argsort():  # the best is painted last, on top
        mask = (
            F.interpolate(
                masks[index][None, None], (size, size), mode="bilinear", align_corners=False
            )[0, 0]
            > 0
        )
        weight = F.interpolate(mask[None, None].float(), features.shape[-2:], mode="area")[0, 0]
        if not mask.any():
            continue
        pooled = (features * weight).sum((1, 2)) / weight.sum()
        labels[mask] = net.label(pooled[None])[0].argmax()
        covered |= mask
    shares.rois += 1
    shares.proposals += len(scores)
    shares.painted += float(covered.float().mean())
    painted: np.ndarray = labels.byte().cpu().numpy()
    return painted


def propose(
    net: SamNet, encoded: Encoded, size: int, settings: dict[str, Any], shares: Shares
) -> tuple[Tensor, Tensor]:
    """Mask logits float32 [N, S/4, S/4] and scores [N] of a grid of points, after filters."""
    side = int(settings["points_per_side"])
    axis = (torch.arange(side, device=encoded.embedding.device) + 0.5) * size / side
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 1, 2)
    kept, scores = [], []
    for points in grid.split(int(settings["points_per_batch"])):
        many = encoded.take(torch.zeros(len(points), dtype=torch.long, device=points.device))
        one = torch.ones(len(points), 1, dtype=torch.long, device=points.device)
        logits, iou, _ = net.decode(many, points, one, multimask=True)
        logits, score = logits.float().flatten(0, 1), iou.float().flatten()
        offset = float(settings["stability_offset"])
        inner = (logits > offset).sum((1, 2)).float()
        outer = (logits > -offset).sum((1, 2)).float()
        share = (logits > 0).float().mean((1, 2))
        good = (score >= settings["predicted_iou"]) & (share > 0)
        good &= inner >= settings["stability"] * outer
        large = good & (share > settings["largest_share"])
        shares.dropped_large += int(large.sum())
        good &= ~large
        kept.append(logits[good])
        scores.append(score[good])
    masks, score = torch.cat(kept), torch.cat(scores)
    if len(masks):
        chosen = nms(masks_to_boxes(masks > 0), score, float(settings["nms"]))
        masks, score = masks[chosen], score[chosen]
    return masks, score


class ProbeData:
    """Embedding cells and class regions of the training ROIs, with their labels."""

    def __init__(self) -> None:
        self.features: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, features: Tensor, target: np.ndarray, num_classes: int) -> None:
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

    def fit(self, net: SamNet, limit: int, seed: int) -> dict[str, Any]:
        """Logistic regression into the buffers of ``net``; classes without an example are never
        chosen. Returns facts for the record."""
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
        count = len(net.probe_bias)
        weight, bias = np.zeros((count, FEATURES)), np.full(count, -1e4)
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
            (net.probe_weight, weight),
            (net.probe_bias, bias),
            (net.probe_centre, centre),
            (net.probe_scale, scale),
        ):
            buffer.copy_(torch.from_numpy(value))
        return {"cells": len(labels), "training_accuracy": round(accuracy, 4)}
