"""Was training stable? Judged from what was logged, with the evidence kept.

Rules: a run has collapsed when, after a quarter of its validations, one falls below a quarter of
the best or the median of the last three lies below 0.6 of it; it has diverged on a non-finite
loss, or on a gradient spike above 100 times the running median followed by two epochs at twice
the loss of before; it has learned nothing when its best does not beat the floor: painting the
majority class, or in the prompted track, where that has no meaning, answering every prompt with
the whole ROI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

AFTER = 0.25  # of the epochs run
COLLAPSE = 0.25  # of the best
TAIL = 0.6  # of the best
SPIKE = 100.0  # times the running median of the gradient norm
LOSS_RISE = 2.0
DECLINE = 0.97  # of the best: below it, the tail has declined


@dataclass(frozen=True)
class Stability:
    """``status``: stable, collapsed, diverged, no learning or not applicable."""

    status: str
    reason: str
    note: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def judge(
    epochs: Sequence[int],
    validation: Sequence[float | None],
    *,
    losses: Sequence[float] = (),
    spikes: Sequence[float] = (),
    floor: float | None = None,
    floor_name: str = "the majority floor",
) -> Stability:
    """Judge a training.

    ``epochs`` and ``validation`` are paired (mean Dice of each validation, None if undefined);
    ``losses`` are epoch means (non-finite where the loss was), ``spikes`` each epoch's largest
    gradient norm; ``floor`` is what ``floor_name`` scores on the same validation set.
    """
    pairs = [(e, v) for e, v in zip(epochs, validation, strict=True) if v is not None]
    evidence: dict[str, Any] = {"epochs": [e for e, _ in pairs], "values": [v for _, v in pairs]}
    diverged = _diverged(losses, spikes)
    if diverged:
        return Stability("diverged", diverged, evidence=evidence)
    if not pairs:
        return Stability("not applicable", "no validation was made while training")
    best_epoch, best = max(pairs, key=lambda pair: pair[1])
    if floor is not None and best <= floor:
        return Stability(
            "no learning",
            f"the best validation, {best:.3f}, is not above {floor_name}, {floor:.3f}",
            evidence=evidence,
        )
    late = [(e, v) for e, v in pairs if e >= AFTER * pairs[-1][0] and e > pairs[0][0]]
    for epoch, value in late:
        if value < COLLAPSE * best:
            return Stability(
                "collapsed",
                f"validation fell to {value:.3f} at epoch {epoch}; its best was "
                f"{best:.3f} at epoch {best_epoch}",
                evidence=evidence,
            )
    tail = median(v for _, v in pairs[-3:])
    if len(pairs) >= 4 and tail < TAIL * best:
        return Stability(
            "collapsed",
            f"the last three validations have median {tail:.3f}; the best was "
            f"{best:.3f} at epoch {best_epoch}",
            evidence=evidence,
        )
    early = best_epoch <= 0.5 * pairs[-1][0] and len(pairs) >= 4
    note = None
    if early and pairs[-1][1] < DECLINE * best:
        note = f"overfitting after epoch {best_epoch}"
    return Stability("stable", f"best {best:.3f} at epoch {best_epoch}", note, evidence)


def _diverged(losses: Sequence[float], spikes: Sequence[float]) -> str | None:
    for epoch, loss in enumerate(losses):
        if not math.isfinite(loss):
            return f"the loss was not finite in epoch {epoch}"
    for epoch in range(1, min(len(spikes), len(losses) - 2)):
        usual = median(spikes[:epoch])
        before = losses[epoch - 1]
        rose = before > 0 and min(losses[epoch + 1 : epoch + 3]) >= LOSS_RISE * before
        if usual > 0 and spikes[epoch] > SPIKE * usual and rose:
            return (
                f"the gradient norm spiked to {spikes[epoch]:.3g} in epoch {epoch} and the loss "
                f"doubled for two epochs"
            )
    return None
