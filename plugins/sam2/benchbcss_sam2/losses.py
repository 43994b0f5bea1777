"""SAM2's training losses, blind to ignored pixels and weighted by tissue class.

Where nothing is ignored and all weights are 1, they equal upstream's ``training.loss_fns`` with
``supervise_all_iou``, ``iou_use_l1_loss`` and ``pred_obj_scores``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def object_losses(
    masks: Tensor,
    iou: Tensor,
    presence: Tensor,
    target: Tensor,
    known: Tensor,
    weights: Tensor,
    settings: dict[str, Any],
) -> dict[str, Tensor]:
    """Terms ``mask`` (focal), ``dice``, ``iou`` and ``object``, each times its recipe weight.

    ``masks`` logits [N, M, H, W], ``iou`` predicted [N, M], ``presence`` logits [N, 1], ``target``
    and ``known`` bool [N, H, W], ``weights`` float [N] (multiply an object's mask terms). Focal
    and dice are those of the best of the M masks; IoU is an L1 over all of them. Terms are summed
    over objects and divided by N. An object without a known pixel counts for nothing.
    """
    logits = masks.float().flatten(2)
    truth = target.flatten(1)[:, None].float().expand_as(logits)
    valid = known.flatten(1)[:, None].float()
    count = len(masks)
    focal = _focal(logits, truth, valid, settings["focal_alpha"], settings["focal_gamma"])
    dice = _dice(logits, truth, valid)
    best = (settings["mask"] * focal + settings["dice"] * dice).argmin(1, keepdim=True)

    predicted = (logits > 0) & (valid > 0)
    true = (truth > 0) & (valid > 0)
    overlap = (predicted & true).sum(-1).float()
    union = (predicted | true).sum(-1).clamp(min=1).float()
    iou_error = (iou.float() - overlap / union).abs().mean(1, keepdim=True)

    exists = (target & known).flatten(1).any(1)[:, None].float()
    seen = known.flatten(1).any(1)[:, None].float()
    presence_error = F.binary_cross_entropy_with_logits(presence.float(), exists, reduction="none")
    weight = weights[:, None].float() * exists
    return {
        "mask": settings["mask"] * (focal.gather(1, best) * weight).sum() / count,
        "dice": settings["dice"] * (dice.gather(1, best) * weight).sum() / count,
        "iou": settings["iou"] * (iou_error * exists).sum() / count,
        "object": settings["object"] * (presence_error * seen).sum() / count,
    }


def _focal(logits: Tensor, truth: Tensor, valid: Tensor, alpha: float, gamma: float) -> Tensor:
    """Mean over known pixels of the focal loss (Lin et al. 2017): [N, M]."""
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    agreement = probability * truth + (1 - probability) * (1 - truth)
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    loss = balance * cross * (1 - agreement) ** gamma * valid
    return loss.sum(-1) / valid.sum(-1).clamp(min=1)


def _dice(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """1 - Dice over known pixels, add-one smoothed: [N, M]."""
    probability = logits.sigmoid() * valid
    truth = truth * valid
    overlap = 2 * (probability * truth).sum(-1)
    return 1 - (overlap + 1) / (probability.sum(-1) + truth.sum(-1) + 1)


def class_weights(
    setting: dict[str, float] | str | None, names: tuple[str, ...], pixels: list[int]
) -> Tensor:
    """One weight per class, float32 [K]: as given (1 where a class is not named), all 1 for None,
    or for 'auto' tumor frequency / class frequency over non-ignored training pixels, at most 20.
    Without a class called tumor, or a pixel of it, 'auto' refers to the most frequent one."""
    if setting is None:
        return torch.ones(len(names))
    if setting == "auto":
        tumor = pixels[names.index("tumor")] if "tumor" in names else 0
        reference = tumor or max(pixels)  # of 0, all weights would be 0 and nothing learnt
        return torch.tensor([min(20.0, reference / count) if count else 1.0 for count in pixels])
    assert isinstance(setting, dict)
    return torch.tensor([float(setting.get(name, 1.0)) for name in names])
