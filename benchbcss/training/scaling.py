"""Dynamic loss scaling (Micikevicius et al. 2018, arXiv 1710.03740) for training in fp16.

Gradients below 6e-8 are 0 in fp16, so the loss is multiplied by a scale before the backward pass,
and gradients are divided by it afterwards. Constants and rule are ``torch.amp.GradScaler``'s; this
one decides by the norm of the gradients, which the loop fetches anyway: GradScaler would wait for
the device once more in each step. Its state is two numbers, kept in checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

INITIAL = 2.0**16
FACTOR = 2.0  # by which the scale grows, and shrinks
INTERVAL = 2000  # steps without an overflow before it grows


class LossScaler:
    """``scale`` multiplies the loss; where not ``enabled``, it is 1 for ever."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self.scale = INITIAL if enabled else 1.0
        self.good = 0  # steps since the scale last changed

    def scaled(self, loss: Tensor) -> Tensor:
        """What the backward pass begins with."""
        return loss * self.scale if self.enabled else loss

    def unscale(self, gradients: Iterable[Tensor]) -> None:
        """Divide gradients by the scale, in place."""
        if self.enabled and (known := list(gradients)):
            torch._foreach_mul_(known, 1 / self.scale)

    def step(self, finite: bool) -> bool:
        """A step's gradients were ``finite`` or not; returns whether that is all right. It is where
        they overflowed by scaling: the step is left out, and the next is scaled by less."""
        if not self.enabled:
            return finite
        if not finite:
            if self.scale <= 1:
                return False  # nothing was scaled up: the gradients themselves are not finite
            self.scale, self.good = self.scale / FACTOR, 0
            return True
        self.good += 1
        if self.good == INTERVAL:
            self.scale, self.good = self.scale * FACTOR, 0
        return True

    def state(self) -> dict[str, float]:
        return {"scale": self.scale, "good": self.good}

    def load(self, state: dict[str, float] | None) -> None:
        """Go on as ``state`` says; a checkpoint of another precision, or of an earlier edition, has
        none, and leaves a fresh start."""
        if self.enabled and state is not None:
            self.scale, self.good = float(state["scale"]), int(state["good"])
