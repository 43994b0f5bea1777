"""Mask2Former's set loss (Cheng et al. 2022), with matching and mask losses at known pixels only.

One target mask per class present among an image's known pixels. Hungarian matching assigns a
query to each; the others are "no object". An image without a known pixel counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchbcss.contract import IGNORE
from benchbcss_mask2former import points

Queries = tuple[Tensor, Tensor]  # class logits [B, Q, K + 1], mask logits [B, Q, h, w]
Pairs = tuple[Tensor, ...]  # query, and its class's place among those present: int64 [M] each


class _Points(NamedTuple):
    """Of one image and layer: the points that costs are taken at, and those of the mask losses."""

    matching: points.Drawn
    candidates: points.Candidates


@dataclass(frozen=True)
class SetLoss:
    """Weights and sampling of the loss; the values and their source are the recipe's."""

    num_classes: int
    class_weight: float
    mask_weight: float
    dice_weight: float
    no_object_weight: float
    points: int
    oversample: float
    importance: float
    ignore_index: int = IGNORE

    def __call__(self, layers: Sequence[Queries], target: Tensor) -> dict[str, Tensor]:
        """Weighted terms ``class``, ``mask`` and ``dice``, each summed over decoder layers.

        ``target`` int64 [B, H, W]; the mask logits cover the same field at any resolution.
        """
        known, present = self._contents(target)
        layers = [(scores.float(), masks.float()) for scores, masks in layers]
        queries = layers[0][0].shape[1]
        sizes = [min(queries, len(classes)) for classes in present]
        drawn = [
            [self._draw(pixels, size) for pixels, size in zip(known, sizes, strict=True)]
            for _ in layers
        ]
        labels = [torch.tensor(classes, device=target.device) for classes in present]
        matches = self._matched(layers, target, drawn, labels)
        totals: dict[str, Tensor] = {}
        for (class_logits, mask_logits), points_of, pairs in zip(
            layers, drawn, matches, strict=True
        ):
            terms = self._layer(class_logits, mask_logits, target, points_of, pairs, labels)
            for name, term in terms.items():
                totals[name] = totals[name] + term if name in totals else term
        return totals

    def _contents(self, target: Tensor) -> tuple[list[Tensor], list[list[int]]]:
        """Of each image, its known pixels (flat indices int64 [N]) and the classes among them; the
        device is waited for once."""
        has = [(target == label).flatten(1).any(1) for label in range(self.num_classes)]
        count = (target != self.ignore_index).flatten(1).sum(1)
        known, present = [], []
        for image, row in zip(target, torch.stack([*has, count], 1).tolist(), strict=True):
            known.append(points.known_pixels(image, self.ignore_index, row[-1]))
            present.append([label for label, there in enumerate(row[:-1]) if there])
        return known, present

    def _draw(self, known: Tensor, masks: int) -> _Points | None:
        """All random numbers of one image and layer, in their order; None where nothing is known.
        How many there are does not depend on the matching, which can so wait for the others'."""
        if not masks:
            return None
        matching = points.draw(known, (self.points,))
        return _Points(
            matching,
            points.draw_candidates(known, masks, self.points, self.oversample, self.importance),
        )

    def _layer(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        target: Tensor,
        drawn: Sequence[_Points | None],
        pairs: Sequence[Pairs | None],
        labels: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        masks = max(1, sum(len(present) for present in labels))
        wanted = torch.full(class_logits.shape[:2], self.num_classes, device=target.device)
        zero = mask_logits.sum() * 0.0  # keeps the graph whole when there is nothing to learn
        mask_loss, dice_loss = zero, zero
        for i, (places, pair, present) in enumerate(zip(drawn, pairs, labels, strict=True)):
            if places is None or pair is None:
                wanted[i] = -100
                continue
            query, which = pair
            wanted[i, query] = present[which]
            chosen = mask_logits[i, query]
            xy, under = points.uncertain(chosen.detach(), target[i], places.candidates, self.points)
            logits = points.read(chosen, xy)
            truth = (under == present[which][:, None]).float()
            mask_loss = (
                mask_loss
                + F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1).sum()
            )
            dice_loss = dice_loss + _dice(logits, truth).sum()
        weight = torch.ones(self.num_classes + 1, device=target.device)
        weight[-1] = self.no_object_weight
        total = F.cross_entropy(
            class_logits.flatten(0, 1), wanted.flatten(), weight=weight, reduction="sum"
        )
        counted = [row for row, places in zip(wanted, drawn, strict=True) if places is not None]
        scale = weight[torch.cat(counted)].sum() if counted else weight.new_zeros(())
        scale = scale.clamp(min=torch.finfo(torch.float32).tiny)
        return {
            "class": self.class_weight * total / scale,
            "mask": self.mask_weight * mask_loss / masks,
            "dice": self.dice_weight * dice_loss / masks,
        }

    @torch.no_grad()
    def _matched(
        self,
        layers: Sequence[Queries],
        target: Tensor,
        drawn: Sequence[Sequence[_Points | None]],
        labels: Sequence[Tensor],
    ) -> list[list[Pairs | None]]:
        """Least-cost pairs of each image in each layer. All costs are fetched at once, since every
        look waits for the device."""
        costs = [
            self._cost(class_logits[i], mask_logits[i], target[i], places.matching, labels[i])
            for (class_logits, mask_logits), of_layer in zip(layers, drawn, strict=True)
            for i, places in enumerate(of_layer)
            if places is not None
        ]
        if not costs:
            return [[None] * len(target) for _ in layers]
        shapes = [cost.shape for cost in costs]
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
        solved = [
            linear_sum_assignment(cost.view(shape).numpy())
            for cost, shape in zip(
                flat.split([shape.numel() for shape in shapes]), shapes, strict=True
            )
        ]
        indices = torch.from_numpy(np.concatenate([np.stack(pair, 1) for pair in solved]))
        matched = iter(indices.to(target.device).split([len(pair[0]) for pair in solved]))
        return [
            [None if places is None else next(matched).unbind(1) for places in of_layer]  # type: ignore[misc]
            for of_layer in drawn
        ]

    def _cost(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        target: Tensor,
        drawn: points.Drawn,
        present: Tensor,
    ) -> Tensor:
        """What each query costs for each class that one image has: float32 [Q, C]."""
        xy, labels = points.locate(target, drawn)
        logits = points.read(mask_logits, xy)
        truth = (labels == present[:, None]).float()
        # a product in bfloat16 would make near ties a matter of rounding
        with torch.autocast(logits.device.type, enabled=False):
            negative = F.softplus(logits)  # BCE against 0; against 1 it is smaller by the logit
            bce = (negative.sum(1, keepdim=True) - logits @ truth.T) / logits.shape[1]
            probability = logits.sigmoid()
            area = probability.sum(1, keepdim=True) + truth.sum(1)
            dice = 1 - (2 * probability @ truth.T + 1) / (area + 1)
        cost = (
            self.class_weight * -class_logits.softmax(-1)[:, present]
            + self.mask_weight * bce
            + self.dice_weight * dice
        )
        # a diverged network is the harness's finding, not a crash of the assignment
        return torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of sigmoid(logits) and truth over the points, add-one smoothed: [M, P] -> [M]."""
    probability = logits.sigmoid()
    overlap = 2 * (probability * truth).sum(1)
    return 1 - (overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
