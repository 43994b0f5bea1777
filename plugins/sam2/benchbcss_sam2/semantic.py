"""Whole maps from a promptable model: propose masks from a grid, label each region, paint.

What no proposal covers is labelled cell by cell of a grid; both shares are recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import masks_to_boxes, nms

from benchbcss.protocols import Names
from benchbcss_sam2.network import Encoded, Promptable


@dataclass
class Shares:
    """How maps came about, summed over ROIs."""

    rois: int = 0
    proposals: int = 0
    painted: float = 0.0
    dropped_large: int = 0

    @classmethod
    def total(cls, parts: Iterable[Shares]) -> Shares:
        sums = zip(*(astuple(part) for part in parts), strict=True)
        return cls(*(sum(column) for column in sums))

    def plain(self) -> dict[str, Any]:
        """Means per ROI; the two shares sum to 1."""
        rois = max(1, self.rois)
        return {
            "rois": self.rois,
            "proposals_per_roi": round(self.proposals / rois, 2),
            "dropped_larger_than_half": self.dropped_large,
            "share_painted_by_proposals": round(self.painted / rois, 4),
            "share_painted_by_fallback": round(1 - self.painted / rois, 4),
        }


def paint(
    net: Promptable,
    encoded: Encoded,
    names: Names,
    size: int,
    settings: dict[str, Any],
    shares: Shares,
) -> np.ndarray:
    """uint8 [S, S] labels of one encoded image, whose parts ``names`` tells."""
    cells = names.cells()[None]
    labels = F.interpolate(cells, (size, size), mode="bilinear", align_corners=False)[0].argmax(0)
    covered = torch.zeros(size, size, dtype=torch.bool, device=labels.device)
    logits, scores = propose(net, encoded, size, settings, shares)
    masks = []
    for index in scores.argsort():  # the best is painted last, on top
        one = logits[index][None, None]
        mask = F.interpolate(one, (size, size), mode="bilinear", align_corners=False)[0, 0] > 0
        if mask.any():
            masks.append(mask)
    for mask, label in zip(masks, names.regions(masks), strict=True):
        labels[mask] = label
        covered |= mask
    shares.rois += 1
    shares.proposals += len(scores)
    shares.painted += float(covered.float().mean())
    painted: np.ndarray = labels.byte().cpu().numpy()
    return painted


def propose(
    net: Promptable, encoded: Encoded, size: int, settings: dict[str, Any], shares: Shares
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
