"""What is remembered of a training: one record per epoch, the best validation, how it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class History:
    """One record per epoch, the validations at the start and at their best, how training ended.

    ``start`` is the validation of the weights as loaded, before the first step; it is compared
    with, but never competes to be the ``best``, which is of trained weights. ``diverged`` says
    ``what`` was not finite, at which ``step``, and the ``reason`` in words. ``ended`` is set when
    nothing is left to train; a run that is resumed then only loads its best weights. Everything in
    it is plain data: it is stored in the checkpoint.

    Where a part of the validation set is validated while training, records, ``start`` and
    ``candidates`` are of that part. The candidates are the best validations that are kept, {step,
    value}, the best first and the earlier one where two are equal. Each has an entry in ``whole``
    once it was validated on the whole set, with its step; then ``best`` and ``best_step`` are by
    that.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, Any] | None = None
    best: float | None = None
    best_step: int | None = None
    stopped: str = "budget spent"
    ended: bool = False
    diverged: dict[str, Any] | None = None
    seconds: float = 0.0
    candidates: list[dict[str, Any]] = field(default_factory=list)
    whole: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kept(self) -> list[int]:
        """The steps whose weights may still be scored; 0 are those of the start."""
        return [candidate["step"] for candidate in self.candidates] or [self.best_step or 0]

    def propose(self, step: int, value: float, most: int) -> bool:
        """Whether the validation of ``step`` is among the best ``most``, and so a candidate."""
        # The sort is stable: of equal values the earlier one stays in front.
        ranked = [*self.candidates, {"step": step, "value": value}]
        self.candidates = sorted(ranked, key=lambda item: -item["value"])[:most]
        self.best, self.best_step = self.candidates[0]["value"], self.candidates[0]["step"]
        return step in self.kept

    @property
    def scored(self) -> str:
        """Which weights are scored: those of the ``best`` validation; without one the ``last``,
        or after a divergence those of the ``start``."""
        if self.best is not None:
            return "best"
        return "last" if self.diverged is None else "start"

    def end(self, reason: str | None = None) -> None:
        """Nothing more is trained; ``reason`` where it was not the budget."""
        self.ended = True
        self.stopped = reason or self.stopped


class EpochSums:
    """Loss terms and the largest gradient norm of one epoch."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """Empty, or as ``state`` (their ``vars`` from a checkpoint) has them."""
        self.count = 0
        self.sums: dict[str, float] = {}
        self.largest_norm = 0.0
        self.skipped = 0  # steps whose scaled gradients overflowed, in fp16
        vars(self).update(state or {})

    def add(self, names: Sequence[str], values: Sequence[float]) -> None:
        """One micro-batch: its named terms, and their sum last, called "loss"."""
        for name, value in zip(names, values, strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    @property
    def finite(self) -> bool:
        """Whether every loss of the epoch so far was."""
        return math.isfinite(self.sums.get("loss", 0.0))

    def record(self, epoch: int, step: int, rates: dict[str, float]) -> dict[str, Any]:
        """Plain data; JSON has no NaN, so a value that is not finite is null."""
        means = {name: value / max(1, self.count) for name, value in self.sums.items()}
        cuda = torch.cuda.is_available()
        skipped = {"skipped_steps": self.skipped} if self.skipped else {}
        return {
            "epoch": epoch,
            "step": step,
            "finite": True,
            "loss": {n: v if math.isfinite(v) else None for n, v in means.items()},
            "grad_norm_max": self.largest_norm if math.isfinite(self.largest_norm) else None,
            "learning_rate": rates,
            **skipped,
            "gpu_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        }
