"""Losses for dense networks: class-balanced cross-entropy and soft Dice, blind to ignored pixels.

Shapes and dtypes, throughout: ``logits`` float [B, K, H, W]; ``target`` int64 [B, H, W] with
labels 0..K-1 and ``ignore_index`` where nothing is known; results are float32 scalars. What is
ignored is decided by the target alone: neither value nor gradient depends on the logits there.
A batch without a single known pixel gives zero, with zero gradients, rather than NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbcss.contract import IGNORE
from benchbcss.errors import RecipeError

SCHEMES = ("none", "inverse_sqrt", "inverse", "effective")


def class_weights(
    pixels: Sequence[int], scheme: str = "inverse_sqrt", *, beta: float = 0.9999, cap: float = 0.0
) -> Tensor:
    """One weight per class, float32 [K], from training pixel counts ``pixels`` (length K).

    Schemes: ``none`` (all 1), ``inverse_sqrt`` (n^-1/2), ``inverse`` (n^-1) and ``effective``,
    (1 - beta) / (1 - beta^n), the inverse effective number of samples of Cui et al. 2019
    ("Class-balanced loss based on effective number of samples", eq. 2). Its ``beta`` must suit
    pixel counts: once n is far above 1 / (1 - beta), all classes weigh the same.

    Weights are scaled to a mean of 1 over the classes that have pixels, so that a scheme changes
    the balance and not the learning rate; a class without pixels is never a target and gets 1.
    ``cap`` (0: off) limits a weight to that multiple of the smallest. Unknown schemes, negative
    counts and other caps below 1 raise RecipeError.
    """
    counts = torch.tensor(list(pixels), dtype=torch.float64)
    if (counts < 0).any():
        raise RecipeError(f"class weights need pixel counts of at least 0, got {list(pixels)}")
    if cap and not cap >= 1:
        raise RecipeError(
            f"loss.cap must be 0, for none, or 1 or more, got {cap:g}: it is a multiple of the "
            f"smallest weight"
        )
    present = counts > 0
    n = counts.clamp(min=1)
    if scheme == "none":
        raw = torch.ones_like(n)
    elif scheme == "inverse_sqrt":
        raw = n.rsqrt()
    elif scheme == "inverse":
        raw = 1 / n
    elif scheme == "effective":
        if not 0 <= beta < 1:
            raise RecipeError(f"loss.beta must lie in [0, 1), got {beta}")
        # expm1 keeps the digits that 1 - beta^n loses for beta close to 1
        raw = (1 - beta) / (-torch.expm1(n * torch.log(torch.tensor(beta, dtype=torch.float64))))
    else:
        known = ", ".join(SCHEMES)
        raise RecipeError(f"loss.class_weights: there is no scheme '{scheme}'. Known: {known}.")
    if not present.any():
        return torch.ones(len(counts))
    if cap > 0:
        raw = raw.clamp(max=cap * float(raw[present].min()))
    return torch.where(present, raw / raw[present].mean(), torch.ones_like(raw)).float()


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Weighted mean of -log softmax over known pixels, divided by the sum of their weights.

    As ``torch.nn.functional.cross_entropy``, but 0 instead of NaN when nothing is known, and in
    float32 whatever the precision of ``logits``.
    """
    weights = None if weights is None else weights.to(logits.device, torch.float32)
    total = F.cross_entropy(
        logits.float(), target, weight=weights, ignore_index=ignore_index, reduction="sum"
    )
    known = target != ignore_index
    if weights is None:
        scale = known.sum().float()
    else:
        label = torch.where(known, target, 0)
        scale = (weights.index_select(0, label.flatten()).view_as(label) * known).sum()
    return total / scale.clamp(min=torch.finfo(torch.float32).tiny)


def soft_dice(
    logits: Tensor, target: Tensor, ignore_index: int = IGNORE, smooth: float = 1.0
) -> Tensor:
    """1 - mean over classes of (2 sum p t + smooth) / (sum p + sum t + smooth).

    Sums run over the known pixels of the whole batch (p softmax probability, t one-hot target),
    and the mean over the classes the batch's target contains: a rare class that is absent from
    almost every batch would otherwise be pushed towards nothing, batch after batch.
    """
    labels = torch.arange(logits.shape[1], device=target.device)[None, :, None, None]
    known = target != ignore_index
    truth = (target[:, None] == labels) & known[:, None]
    probability = logits.float().softmax(1) * known[:, None]
    overlap = (probability * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3))
    area = probability.sum((0, 2, 3)) + pixels
    dice = (2 * overlap + smooth) / (area + smooth)
    present = pixels > 0
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def dense_loss(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None,
    settings: dict[str, Any],
    ignore_index: int = IGNORE,
) -> dict[str, Tensor]:
    """The two terms above times ``settings['cross_entropy']`` and ``settings['dice']``
    (default 1 each), named ``cross_entropy`` and ``dice``; a term of weight 0 is left out."""
    terms: dict[str, Tensor] = {}
    for name in ("cross_entropy", "dice"):
        if float(settings.get(name, 1.0)) < 0:
            raise RecipeError(
                f"loss.{name}={settings[name]:g} would teach the network to be wrong; it must be "
                f"at least 0"
            )
    ce, dice = float(settings.get("cross_entropy", 1.0)), float(settings.get("dice", 1.0))
    if ce:
        terms["cross_entropy"] = ce * cross_entropy(logits, target, weights, ignore_index)
    if dice:
        terms["dice"] = dice * soft_dice(logits, target, ignore_index)
    if not terms:
        raise RecipeError("loss.cross_entropy and loss.dice are both 0: there is nothing to learn")
    return terms


def balanced_loss(
    logits: Tensor,
    target: Tensor,
    pixels: Sequence[int],
    settings: dict[str, Any],
    ignore_index: int = IGNORE,
) -> dict[str, Tensor]:
    """``dense_loss`` with the class weights that a recipe's loss section asks for:
    ``class_weights`` (a scheme, default inverse_sqrt), ``beta`` and ``cap``."""
    weights = class_weights(
        pixels,
        settings.get("class_weights", "inverse_sqrt"),
        beta=float(settings.get("beta", 0.9999)),
        cap=float(settings.get("cap", 0.0)),
    )
    return dense_loss(logits, target, weights, settings, ignore_index)
