"""Learning rate by step, frozen and thawed parameter groups by epoch, the training budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchbcss.recipes import Train
from benchbcss.suites import Budget

ENDLESS = 10**6  # epochs, where only time ends training


@dataclass(frozen=True)
class Plan:
    """How long to train: optimiser steps in total and per epoch, and the batch really used, which
    comes ``accumulate`` times in a step; ``seconds`` ends training before ``steps`` do. There are
    ``validate_every`` epochs between validations, whose best ``candidates`` are kept until the end
    of training chooses one."""

    steps: int
    steps_per_epoch: int
    batch_size: int
    budget: str
    seconds: float | None = None
    validate_every: int = 1
    candidates: int = 1
    accumulate: int = 1

    @property
    def epochs(self) -> int:
        return math.ceil(self.steps / self.steps_per_epoch)


def plan(train: Train, budget: Budget, rois: int) -> Plan:
    """Resolve the budget for ``rois`` training ROIs; one epoch is one sample per ROI, drop-last, so
    that no step takes more of them than there are."""
    batch = min(train.batch_size, rois)
    accumulate = min(train.accumulate, rois // batch)
    per_epoch = rois // (batch * accumulate)
    by_recipe = train.budget == "recipe"
    steps = train.steps if by_recipe else budget.steps
    epochs = train.epochs if by_recipe else budget.epochs
    seconds = None if by_recipe else budget.seconds
    total = steps or (epochs or (1 if seconds is None else ENDLESS)) * per_epoch
    return Plan(
        total,
        per_epoch,
        batch,
        train.budget,
        seconds,
        train.validate_every,
        accumulate=accumulate,
    )


def remarks(train: Train, plan: Plan) -> list[str]:
    """What a user should know of a plan that is not what the recipe's numbers suggest."""
    said = []
    asked, used = train.batch_size * train.accumulate, plan.batch_size * plan.accumulate
    if used < asked:
        said.append(
            f"a step takes {used} samples instead of {asked}: an epoch has one of each training ROI"
        )
    if plan.seconds is None and train.warmup_steps >= plan.steps:
        highest = learning_rate(train, plan.steps - 1, plan.steps)
        said.append(
            f"the warmup of {train.warmup_steps} steps does not end within the {plan.steps} of "
            f"training: the learning rate reaches {highest:.3g} of {train.lr:.3g}; choose a "
            f"smaller train.warmup_steps"
        )
    return said


def learning_rate(train: Train, step: int, total: int, spent: float = 0.0) -> float:
    """Linear warmup from 0, then cosine from ``lr`` to ``lr_end`` at the last step, or when the
    share ``spent`` of the time budget reaches 1, whichever is further."""
    if step < train.warmup_steps:
        return train.lr * step / train.warmup_steps
    span = max(1, total - 1 - train.warmup_steps)
    progress = min(1.0, max((step - train.warmup_steps) / span, spent))
    return train.lr_end + (train.lr - train.lr_end) * 0.5 * (1 + math.cos(math.pi * progress))


def group_rates(
    train: Train, groups: list[str], step: int, plan: Plan, spent: float = 0.0
) -> dict[str, float]:
    """Learning rate of every parameter group at ``step``, when the share ``spent`` of a time budget
    is over; 0 means frozen."""
    epoch = step // plan.steps_per_epoch
    fixed: dict[str, float] = {}
    for stage in sorted(train.unfreeze, key=lambda item: item.epoch):
        if stage.epoch <= epoch:
            fixed = stage.lr
    main = learning_rate(train, step, plan.steps, spent)
    return {name: fixed.get(name, main) for name in groups}


def ever_trained(train: Train, group: str, plan: Plan) -> bool:
    """Whether some epoch of the plan gives ``group`` a rate above 0."""
    stages = {stage.epoch: stage.lr for stage in train.unfreeze if stage.epoch < plan.epochs}
    if not stages or min(stages) > 0:
        return True  # the main schedule reaches every group
    return any(group not in rates or rates[group] > 0 for rates in stages.values())
