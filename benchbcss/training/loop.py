"""The one training loop that every backend is trained by, unless it brings its own ``fit``.

Read top to bottom: groups and optimiser, resume, steps, and at the end of an epoch validation,
record and checkpoint. Batches and randomness are functions of (seed, step), so a run that was
interrupted continues as if it had not been.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from benchbcss.contract import Backend, Batch
from benchbcss.errors import PluginError, RunError
from benchbcss.recipes import Train
from benchbcss.runs.checkpoint import load_checkpoint, save_checkpoint
from benchbcss.tracks.base import Validation
from benchbcss.training.samples import StepDataset, TrainingData, seed_of
from benchbcss.training.schedule import Plan, group_rates

CHECKPOINT_SECONDS = 20.0  # at most so much training is lost, beside the epoch under way


@dataclass
class History:
    """What was logged: one record per epoch, and how training ended."""

    records: list[dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    best_step: int | None = None
    stopped: str = "budget spent"
    seconds: float = 0.0


def train(
    backend: Backend,
    model: nn.Module,
    data: TrainingData,
    settings: Train,
    plan: Plan,
    *,
    run_dir: Path,
    seed: int,
    accelerator: Accelerator,
    validate: Callable[[nn.Module], Validation] | None,
    on_epoch: Callable[[dict[str, Any]], None],
    workers: int = 0,
) -> History:
    """Train ``model`` in place and leave the best weights (by validation) in it.

    Raises PluginError when the first loss is already not finite or a term is not a scalar.
    """
    groups = _groups(backend, model)
    optimizer = torch.optim.AdamW(
        [{"params": params, "name": name} for name, params in groups.items()],
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )
    history = History()
    first = 0
    bare, scored, average = model, model, None
    if settings.ema is not None:
        average = AveragedModel(
            model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True
        )
        scored = average.module
    resumed = load_checkpoint(run_dir, "last", bare, optimizer, average)
    if resumed is not None:
        first = resumed["step"]
        history = History(**resumed["history"])
    world, main = accelerator.num_processes, accelerator.is_main_process
    if plan.batch_size % world:
        raise RunError(
            f"A batch of {plan.batch_size} cannot be shared by {world} processes. Choose a "
            f"train.batch_size that is a multiple of {world}."
        )
    # What is distributed is the loss itself: backends may call any method of their network.
    losses, optimizer = accelerator.prepare(_Losses(backend, bare), optimizer)

    micro = settings.accumulate
    loader = DataLoader(
        StepDataset(
            data,
            plan.batch_size,
            first * micro,
            plan.steps * micro,
            accelerator.process_index,
            world,
        ),
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    batches = iter(loader)
    epoch = _Epoch()
    begun = time.monotonic() - history.seconds
    saved = time.monotonic()
    step = first
    if history.stopped != History.stopped:
        step = plan.steps  # ended early before it was interrupted: only the best is to be loaded
    while step < plan.steps:
        rates = group_rates(settings, list(groups), step, plan, time.monotonic() - begun)
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]]
            for parameter in group["params"]:
                parameter.requires_grad_(rates[group["name"]] > 0 or not settings.unfreeze)
        bare.train()
        optimizer.zero_grad(set_to_none=True)
        for part in range(micro):
            image, target, names = next(batches)
            apart = (accelerator.process_index,) if accelerator.process_index else ()
            torch.manual_seed(seed_of(seed, "step", step, part, *apart))
            batch = Batch(image.to(accelerator.device), target.to(accelerator.device), names, step)
            with accelerator.autocast():
                terms = losses(batch)
            total = _total(terms)
            if total.requires_grad:  # nothing to learn while warmup is at rate 0 and all is frozen
                accelerator.backward(total / micro)
            epoch.add(terms, total)
        finite = math.isfinite(epoch.last)
        if world > 1:  # one process's trouble ends all, or the others would wait for ever
            everywhere = torch.tensor([finite], device=accelerator.device)
            finite = bool(accelerator.gather(everywhere).all())
        if not finite:
            if history.best is None and not history.records:
                raise PluginError(f"the loss was not finite at step {step}: {epoch.describe()}")
            history.records.append(epoch.record(step, plan, rates, finite=False))
            history.stopped = f"the loss was not finite at step {step}"
            if main:
                on_epoch(history.records[-1])
            break
        norm = accelerator.clip_grad_norm_(
            [p for p in bare.parameters() if p.grad is not None], settings.clip_norm
        )
        epoch.norm = max(epoch.norm, float(norm) if norm is not None else 0.0)
        optimizer.step()
        if average is not None:
            average.update_parameters(bare)
        step += 1
        late = plan.seconds is not None and time.monotonic() - begun >= plan.seconds
        if world > 1:
            late = bool(broadcast_object_list([late])[0])
        if step % plan.steps_per_epoch and step < plan.steps and not late:
            continue

        # End of an epoch: validate, record, keep the best, checkpoint.
        number = (step - 1) // plan.steps_per_epoch
        record = epoch.record(step, plan, rates)
        epoch = _Epoch()
        last = step >= plan.steps or late
        if validate is not None and ((number + 1) % settings.validate_every == 0 or last):
            outcome = validate(scored) if main else None
            if world > 1:
                outcome = broadcast_object_list([outcome])[0]
            assert outcome is not None
            record["val_mean_dice"] = outcome.mean
            record["val_dice"] = outcome.per_class
            record["val_any_tissue_dice"] = outcome.any_tissue
            value = record["val_monitored"] = outcome.monitored(settings.monitor)
            if value is not None and (history.best is None or value > history.best):
                history.best, history.best_step = value, step
                if main:
                    save_checkpoint(run_dir, "best", scored, None, {"step": step, "val": value})
        history.seconds = time.monotonic() - begun
        record["seconds"] = round(history.seconds, 2)
        history.records.append(record)
        if main:
            on_epoch(record)
        if not last and _exhausted(history, settings):
            history.stopped = f"no gain for {settings.early_stopping.patience} validations"  # type: ignore[union-attr]
            last = True
        if last or time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            if main:
                state = {"step": step, "history": vars(history)}
                save_checkpoint(run_dir, "last", bare, optimizer, state, average)
        if last:
            break
    accelerator.wait_for_everyone()
    if history.best is not None:
        load_checkpoint(run_dir, "best", bare, None)
    elif average is not None:
        bare.load_state_dict(scored.state_dict())
    history.seconds = time.monotonic() - begun
    return history


class _Losses(nn.Module):
    """A backend's loss as a module's forward pass, so that gradients are shared by processes."""

    def __init__(self, backend: Backend, model: nn.Module) -> None:
        super().__init__()
        self.backend, self.model = backend, model

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return self.backend.loss(self.model, batch)


class _Epoch:
    """Sums of one epoch."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}
        self.last = 0.0
        self.norm = 0.0

    def add(self, terms: dict[str, torch.Tensor], total: torch.Tensor) -> None:
        self.last = float(total.detach())
        for name, term in [*terms.items(), ("loss", total)]:
            self.sums[name] = self.sums.get(name, 0.0) + float(term.detach())
        self.count += 1

    def describe(self) -> str:
        return json.dumps({name: str(value) for name, value in self.sums.items()})

    def record(
        self, step: int, plan: Plan, rates: dict[str, float], finite: bool = True
    ) -> dict[str, Any]:
        """Plain data; JSON has no NaN, so a non-finite loss is null and says so."""
        means = {name: value / max(1, self.count) for name, value in self.sums.items()}
        return {
            "epoch": (step - 1 if finite else step) // plan.steps_per_epoch,
            "step": step,
            "finite": finite,
            "loss": {n: v if math.isfinite(v) else None for n, v in means.items()},
            "grad_norm_max": self.norm if math.isfinite(self.norm) else None,
            "learning_rate": rates,
            "gpu_memory_bytes": torch.cuda.max_memory_allocated()
            if torch.cuda.is_available()
            else None,
        }


def _groups(backend: Backend, model: nn.Module) -> dict[str, list[nn.Parameter]]:
    groups = {name: list(params) for name, params in backend.parameter_groups(model).items()}
    seen: set[int] = set()
    for name, params in groups.items():
        for parameter in params:
            if id(parameter) in seen:
                raise PluginError(f"parameter_groups: a parameter of '{name}' is in two groups")
            seen.add(id(parameter))
    return {name: params for name, params in groups.items() if params}


def _total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
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
