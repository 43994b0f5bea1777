"""Mask2Former's set loss (Cheng et al. 2022), with matching and mask losses at known pixels only.

One target mask per class present among an image's known pixels. Hungarian matching assigns a
query to each; the others are "no object". An image without a known pixel counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchbcss.contract import IGNORE
from benchbcss_mask2former import points

Queries = tuple[Tensor, Tensor]  # class logits [B, Q, K + 1], mask logits [B, Q, h, w]


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
        known = [points.known_pixels(one, self.ignore_index) for one in target]
        classes = [one.flatten()[index].unique() for one, index in zip(target, known, strict=True)]
        totals: dict[str, Tensor] = {}
        for class_logits, mask_logits in layers:
            terms = self._layer(class_logits.float(), mask_logits.float(), target, known, classes)
            for name, term in terms.items():
                totals[name] = totals[name] + term if name in totals else term
        return totals

    def _layer(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        target: Tensor,
        known: list[Tensor],
        classes: list[Tensor],
    ) -> dict[str, Tensor]:
        masks = max(1, sum(len(present) for present in classes))
        wanted = torch.full(class_logits.shape[:2], self.num_classes, device=target.device)
        zero = mask_logits.sum() * 0.0  # keeps the graph whole when there is nothing to learn
        mask_loss, dice_loss = zero, zero
        for i, present in enumerate(classes):
            if not len(present):
                wanted[i] = -100
                continue
            query, which = self._match(
                class_logits[i], mask_logits[i], target[i], known[i], present
            )
            wanted[i, query] = present[which]
            chosen = mask_logits[i, query]
            xy, labels = points.draw_uncertain(
                chosen.detach(), target[i], known[i], self.points, self.oversample, self.importance
            )
            logits = points.read(chosen, xy)
            truth = (labels == present[which][:, None]).float()
            mask_loss = (
                mask_loss
                + F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1).sum()
            )
            dice_loss = dice_loss + _dice(logits, truth).sum()
        weight = torch.ones(self.num_classes + 1, device=target.device)
        weight[-1] = self.no_object_weight
        flat = wanted.flatten()
        total = F.cross_entropy(class_logits.flatten(0, 1), flat, weight=weight, reduction="sum")
        scale = weight[flat[flat >= 0]].sum().clamp(min=torch.finfo(torch.float32).tiny)
        return {
            "class": self.class_weight * total / scale,
            "mask": self.mask_weight * mask_loss / masks,
            "dice": self.dice_weight * dice_loss / masks,
        }

    @torch.no_grad()
    def _match(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        target: Tensor,
        known: Tensor,
        present: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Least-cost pairs of one image: (query index, index into ``present``), int64 [M] each."""
        xy, labels = points.draw(target, known, (self.points,))
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
        cost = torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)
        query, which = linear_sum_assignment(cost.cpu().numpy())
        return (
            torch.as_tensor(query, device=target.device),
            torch.as_tensor(which, device=target.device),
        )


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of sigmoid(logits) and truth over the points, add-one smoothed: [M, P] -> [M]."""
    probability = logits.sigmoid()
    overlap = 2 * (probability * truth).sum(1)
    return 1 - (overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
