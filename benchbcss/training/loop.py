"""The one training loop that every backend is trained by, unless it brings its own ``fit``.

Read top to bottom: resume or validate the start, steps, and at the end of an epoch validation,
record and checkpoint. The state lies in a ``Trainer``. Batches and randomness are functions of
(seed, step), so a run that was interrupted continues as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchbcss import interrupt
from benchbcss.contract import Batch
from benchbcss.errors import NonFiniteError, PluginError
from benchbcss.recipes import Train
from benchbcss.tracks.base import Validation
from benchbcss.training.history import EpochSums, History
from benchbcss.training.samples import TrainingData, seed_all, seed_of
from benchbcss.training.schedule import Plan
from benchbcss.training.trainer import Sample, Trainer

__all__ = ["History", "Trainer", "Validation", "train"]

Validate = Callable[[nn.Module], Validation]


def train(
    trainer: Trainer,
    data: TrainingData,
    *,
    validate: Validate | None = None,
    validate_whole: Validate | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_start: Callable[[], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> History:
    """Train the trainer's model in place and leave the weights to be scored in it.

    Those are the weights of the best validation, or the last where there is no validation. With
    ``validate_whole`` the plan's ``candidates``, the best by ``validate``, are validated by it at
    the end, and the best of them is left. A loss, gradient, weight or prediction that is not finite
    ends training at once, whenever it happens: ``History.diverged`` says what and when, and the
    best weights so far are left, or those of the start. Both validations are called in every
    process, with the same weights, and the first process's answer counts; ``on_epoch`` gets each
    epoch's record in the first process only. ``on_start`` is called before the first step, and
    ``on_step`` with the steps done after each. Asked to stop, it finishes its step, saves and
    raises ``StopRequested``. Raises PluginError when a term of the loss is not a scalar.
    """
    with trainer.writes:  # however it ends, what is being written is written before it returns
        if not trainer.resume():
            _start(trainer, validate)
        if on_start is not None:
            on_start()
        history, plan = trainer.history, trainer.plan
        batches = trainer.batches(data)
        while not trainer.done:
            epoch = trainer.step // plan.steps_per_epoch
            rates = trainer.set_rates()
            _step(trainer, batches, rates)
            if on_step is not None:
                on_step(trainer.step)
            if not history.diverged:
                if trainer.out_of_time() or trainer.step >= plan.steps:
                    history.end()
                elif trainer.step % plan.steps_per_epoch:
                    trainer.stop_if_asked()
                    continue

            # End of an epoch: validate, record, stop early, checkpoint.
            record = trainer.sums.record(epoch, trainer.step, rates)
            trainer.sums = EpochSums()
            if not history.diverged and not trainer.finite_weights():
                trainer.diverge("a weight")
            due = history.ended or (epoch + 1) % plan.validate_every == 0
            if validate is not None and due and not history.diverged:
                _validate(trainer, validate, record)
            record["finite"] = history.diverged is None
            trainer.add_record(record)
            if on_epoch is not None and trainer.main:
                on_epoch(record)
            if not history.ended and (waited := _exhausted(history, trainer.settings, plan)):
                history.end(f"no gain for {waited} epochs")
            trainer.stop_if_asked()
            trainer.save_if_due()
        if validate_whole is not None:
            _choose(trainer, validate_whole)
        return trainer.finish()


def _start(trainer: Trainer, validate: Validate | None) -> None:
    """Keep the weights as loaded, and validate them: what training is judged against.

    Training is as it would be without it: random numbers drawn here are given back, and the clock
    starts afterwards.
    """
    trainer.keep_start()
    if validate is not None:
        with torch.random.fork_rng():
            outcome = _outcome(trainer, validate)
        if outcome is not None:
            trainer.history.start = {"step": 0, **outcome.record(trainer.settings.monitor)}
    trainer.start_clock()


def _step(trainer: Trainer, batches: Iterator[Sample], rates: dict[str, float]) -> None:
    """One optimiser step; not taken where the loss or its gradients are not finite. In fp16, scaled
    gradients may overflow: the step is then left out, and training goes on.

    Losses and the norm of the gradients are fetched together: the device is waited for once.
    """
    sums = trainer.sums
    losses = _backward(trainer, batches)
    norm = trainer.clip()  # the same in every process
    *values, size = torch.cat([*losses.values, norm.double().view(1)]).tolist()
    for names in losses.names:
        sums.add(names, values[: len(names)])
        values = values[len(names) :]
    if not trainer.everywhere(sums.finite):
        trainer.diverge("the loss")
        return
    finite = math.isfinite(size)
    if not trainer.scaler.step(finite):
        sums.largest_norm = math.inf
        trainer.diverge("a gradient")
    elif finite:
        sums.largest_norm = max(sums.largest_norm, size)
        trainer.update(rates)
    else:
        trainer.skip()


@dataclass
class _Losses:
    """Of each micro-batch: the names of its terms and "loss", and their values float64 [n], which
    stay on the device."""

    names: list[tuple[str, ...]] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


def _backward(trainer: Trainer, batches: Iterator[Sample]) -> _Losses:
    """Gradients of one optimiser step, over its micro-batches."""
    step = trainer.step
    process = trainer.accelerator.process_index
    trainer.model.train()
    trainer.optimizer.zero_grad(set_to_none=True)
    losses = _Losses()
    for part in range(trainer.plan.accumulate):
        image, target, names = next(batches)
        apart = (process,) if process else ()
        seed_all(seed_of(trainer.seed, "step", step, part, *apart))
        batch = Batch(image, target, names, step, trainer.progress)
        with trainer.precision.autocast():
            terms = trainer.losses(batch)
        total = total_of(terms)
        if total.requires_grad:  # nothing to learn while every group is frozen
            scaled = trainer.scaler.scaled(total / trainer.plan.accumulate)
            trainer.accelerator.backward(scaled)
        losses.names.append((*terms, "loss"))
        made = [term.detach().double() for term in (*terms.values(), total)]
        losses.values.append(torch.stack(made))
    return losses


def _validate(trainer: Trainer, validate: Validate, record: dict[str, Any]) -> None:
    """Validate the scored weights into ``record``, and keep them where they are the best."""
    outcome = _outcome(trainer, validate)
    if outcome is not None:
        record.update(outcome.record(trainer.settings.monitor))
        trainer.keep_best(record["val_monitored"])


def _choose(trainer: Trainer, validate_whole: Validate) -> None:
    """Validate the candidates on the whole set, and let its best be the one that is scored; of
    equal ones, the better by what was validated before. What is done already, by a process that was
    interrupted, is not done again."""
    history = trainer.history
    history.whole = []
    trainer.writes.wait()
    for candidate in history.candidates:
        if trainer.shared(interrupt.asked()):
            raise interrupt.StopRequested  # what there is to save is saved
        step = candidate["step"]
        content = trainer.shared(trainer.kept.whole(step) if trainer.main else None)
        if content is None:
            trainer.load_best(step)
            with torch.random.fork_rng():
                outcome, detail = _asked(trainer, validate_whole, trainer.model)
            monitor = trainer.settings.monitor
            content = {"not_finite": detail} if outcome is None else outcome.record(monitor)
            if trainer.main:
                trainer.kept.keep_whole(step, content)
        history.whole.append({"step": step, "watched": candidate["value"], **content})
        if "not_finite" in content:
            trainer.diverge("a prediction", content["not_finite"], step)
    valid = [entry for entry in history.whole if entry.get("val_monitored") is not None]
    if valid:
        chosen = max(valid, key=lambda entry: entry["val_monitored"])  # of equal ones the first
        history.best, history.best_step = chosen["val_monitored"], chosen["step"]


def _outcome(trainer: Trainer, validate: Validate) -> Validation | None:
    """A validation of the weights that may be scored, the same in every process; None where a
    prediction was not finite, which ends training."""
    trainer.unify()
    outcome, detail = _asked(trainer, validate, trainer.scored)
    if outcome is None:
        trainer.diverge("a prediction", detail)
    return outcome


def _asked(trainer: Trainer, validate: Validate, model: nn.Module) -> tuple[Validation | None, str]:
    """The first process's outcome; None and the reason where a prediction was not finite."""
    outcome: Validation | None = None
    detail = ""
    try:
        outcome = validate(model)
    except NonFiniteError as error:
        detail = f" ({error})"
    shared: tuple[Validation | None, str] = trainer.shared((outcome, detail))
    return shared


def total_of(terms: dict[str, Tensor]) -> Tensor:
    """The sum of what ``loss`` returned. Raises PluginError where that is not as promised."""
    if not isinstance(terms, Mapping):
        what = "nothing" if terms is None else f"a {type(terms).__name__}"
        raise PluginError(f"loss() returned {what}, expected a dict of named terms")
    if not terms:
        raise PluginError("loss() returned no term")
    for name, term in terms.items():
        if not isinstance(term, Tensor):
            raise PluginError(f"loss() term '{name}' is a {type(term).__name__}, expected a tensor")
        if term.ndim != 0:
            raise PluginError(
                f"loss() term '{name}' has shape {tuple(term.shape)}, expected a scalar"
            )
    return torch.stack([term.float() for term in terms.values()]).sum()


def _exhausted(history: History, settings: Train, plan: Plan) -> int:
    """Early stopping: after how many epochs without a gain of ``min_delta`` it is due; 0 while it
    is not.

    ``patience`` counts the validations that the recipe asks for after warmup, those included that
    are left out for the sake of their share of compute.
    """
    rule, unit = settings.early_stopping, settings.validate_every
    if rule is None:
        return 0
    best, waited, before = -math.inf, 0, 0
    for record in history.records:
        if "val_monitored" not in record:
            continue
        epochs = range(before + 1, record["epoch"] + 2)  # completed since the validation before
        before = record["epoch"] + 1
        value = record["val_monitored"]
        if value is None:
            continue
        if value > best + rule.min_delta:
            best, waited = value, 0
        else:
            waited += sum(
                epoch % unit == 0 and epoch * plan.steps_per_epoch > settings.warmup_steps
                for epoch in epochs
            )
    return waited * unit if waited >= rule.patience else 0
