"""The one training loop that every backend is trained by, unless it brings its own ``fit``.

Read top to bottom: resume or validate the start, steps, and at the end of an epoch validation, record and checkpoint.
The state lies in a ``Trainer``. Batches and randomness are functions of (seed, step), so a run
that was interrupted continues as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchbcss.contract import Batch
from benchbcss.errors import PluginError
from benchbcss.recipes import Train
from benchbcss.training.history import EpochSums, History, Validation
from benchbcss.training.samples import TrainingData, seed_of
from benchbcss.training.trainer import Sample, Trainer

__all__ = ["History", "Trainer", "Validation", "train"]

Validate = Callable[[nn.Module], Validation]


def train(
    trainer: Trainer,
    data: TrainingData,
    *,
    validate: Validate | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> History:
    """Train the trainer's model in place and leave the best weights (by validation) in it.

    ``validate`` and ``on_epoch`` (which gets each epoch's record) are called in the first process
    only. Raises PluginError when the first loss is already not finite or a term is not a scalar.
    """
    if not trainer.resume() and validate is not None:
        _validate_start(trainer, validate)
    history = trainer.history
    batches = trainer.batches(data)
    sums = EpochSums()
    while not trainer.done:
        rates = trainer.set_rates()
        _backward(trainer, batches, sums)
        if not trainer.everywhere(math.isfinite(sums.last_loss)):
            if history.best is None and not history.records:
                raise PluginError(
                    f"the loss was not finite at step {trainer.step}: {sums.describe()}"
                )
            record = sums.record(trainer.step, trainer.plan, rates, finite=False)
            history.end(f"the loss was not finite at step {trainer.step}")
        else:
            sums.largest_norm = max(sums.largest_norm, trainer.update(rates))
            late = trainer.out_of_time()
            if late or trainer.step >= trainer.plan.steps:
                history.end()
            elif trainer.step % trainer.plan.steps_per_epoch:
                continue
            record = sums.record(trainer.step, trainer.plan, rates)
            if validate is not None and _validation_due(trainer):
                _validate(trainer, validate, record)

        # End of an epoch: record it, stop early, checkpoint.
        sums = EpochSums()
        trainer.add_record(record)
        if on_epoch is not None and trainer.main:
            on_epoch(record)
        if not history.ended and _exhausted(history, trainer.settings):
            assert trainer.settings.early_stopping is not None
            history.end(f"no gain for {trainer.settings.early_stopping.patience} validations")
        trainer.save_if_due()
    return trainer.finish()


def _backward(trainer: Trainer, batches: Iterator[Sample], sums: EpochSums) -> None:
    """Gradients of one optimiser step, over its micro-batches."""
    device, step = trainer.accelerator.device, trainer.step
    process = trainer.accelerator.process_index
    trainer.model.train()
    trainer.optimizer.zero_grad(set_to_none=True)
    for part in range(trainer.settings.accumulate):
        image, target, names = next(batches)
        apart = (process,) if process else ()
        torch.manual_seed(seed_of(trainer.seed, "step", step, part, *apart))
        batch = Batch(image.to(device), target.to(device), names, step)
        with trainer.accelerator.autocast():
            terms = trainer.losses(batch)
        total = _total(terms)
        if total.requires_grad:  # nothing to learn while every group is frozen
            trainer.accelerator.backward(total / trainer.settings.accumulate)
        sums.add(terms, total)


def _validation_due(trainer: Trainer) -> bool:
    """At every ``validate_every``-th epoch and at the end."""
    epochs = (trainer.step - 1) // trainer.plan.steps_per_epoch + 1
    return trainer.history.ended or epochs % trainer.settings.validate_every == 0


def _validate_start(trainer: Trainer, validate: Validate) -> None:
    """Validate the weights as loaded: what training is judged against.

    Training is as it would be without it: random numbers drawn here are given back, and the clock
    starts afterwards.
    """
    with torch.random.fork_rng():
        outcome: Validation = trainer.shared(validate(trainer.scored) if trainer.main else None)
    trainer.history.start = {"step": 0, **outcome.record(trainer.settings.monitor)}
    trainer.start_clock()


def _validate(trainer: Trainer, validate: Validate, record: dict[str, Any]) -> None:
    """Validate the scored weights in the first process, and keep them where they are the best."""
    outcome: Validation = trainer.shared(validate(trainer.scored) if trainer.main else None)
    record.update(outcome.record(trainer.settings.monitor))
    trainer.keep_best(record["val_monitored"])


def _total(terms: dict[str, Tensor]) -> Tensor:
    if not terms:
        raise PluginError("loss() returned no term")
    for name, term in terms.items():
        if term.ndim != 0:
            raise PluginError(
                f"loss() term '{name}' has shape {tuple(term.shape)}, expected a scalar"
            )
    return torch.stack([term.float() for term in terms.values()]).sum()


def _exhausted(history: History, settings: Train) -> bool:
    """Early stopping: ``patience`` validations after warmup without a gain of ``min_delta``."""
    rule = settings.early_stopping
    if rule is None:
        return False
    best, waited = -math.inf, 0
    for record in history.records:
        value = record.get("val_monitored")
        if value is None:
            continue
        if value > best + rule.min_delta:
            best, waited = value, 0
        elif record["step"] > settings.warmup_steps:
            waited += 1
    return waited >= rule.patience
