"""The state of one training: what is optimised, what was logged, what is saved and resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from benchbcss import interrupt
from benchbcss.contract import Backend, Batch
from benchbcss.errors import PluginError, RecipeError, RunError
from benchbcss.inference.precision import Precision
from benchbcss.io import AGAIN
from benchbcss.recipes import Train
from benchbcss.training import recompute, speedups
from benchbcss.training.background import Background
from benchbcss.training.checkpoint import load_checkpoint, snapshot, write_checkpoint
from benchbcss.training.history import EpochSums, History
from benchbcss.training.kept import Kept
from benchbcss.training.log import NAME, EpochLog
from benchbcss.training.processes import of_first
from benchbcss.training.samples import StepDataset, TrainingData, finished_batch
from benchbcss.training.scaling import LossScaler
from benchbcss.training.schedule import Plan, ever_trained, group_rates

Sample = tuple[Tensor, Tensor, list[str]]  # images, targets, ROI names of one micro-batch


class Trainer:
    """Model, optimiser, average of weights, parameter groups and history of one run.

    ``model`` lies on the accelerator's device. Parameters that the backend froze in ``build``, or
    put in no group, are neither optimised nor thawed. ``scored`` is the network that is validated
    and kept: the average of weights where the recipe asks for one, else ``model``.

    Raises PluginError where groups overlap or nothing is trainable, RecipeError where the recipe
    names groups that there are not or freezes all of them, RunError where the batch cannot be
    shared equally by the processes.
    """

    #: seconds between checkpoints: so much training is lost at most, beside the epoch under way
    checkpoint_every = 20.0
    #: of the time that writing checkpoints may take, where it is slower than that; at 0 seconds
    #: between them, every epoch is saved
    checkpoint_share = 0.05

    def __init__(
        self,
        backend: Backend,
        model: nn.Module,
        settings: Train,
        plan: Plan,
        accelerator: Accelerator,
        run_dir: Path,
        *,
        seed: int,
        workers: int = 0,
    ) -> None:
        self.model, self.settings, self.plan = model, settings, plan
        self.accelerator, self.run_dir = accelerator, run_dir
        self.seed, self.workers = seed, workers
        self.augment_on_device = accelerator.device.type == "cuda"
        self.world = accelerator.num_processes
        if plan.batch_size % self.world:
            raise RunError(
                f"A batch of {plan.batch_size} cannot be shared by {self.world} processes. Choose "
                f"a train.batch_size that is a multiple of {self.world}, and no larger than the "
                f"number of training ROIs."
            )
        self.precision = Precision.chosen(settings.precision, accelerator.device)
        self.scaler = LossScaler(enabled=self.precision.name == "fp16")
        self.groups = trainable_groups(backend, model)
        self._check_stages(backend, model)
        freeze_others(model, self.groups)
        speedups.lay_out(settings, model)
        self._parameters = list(model.parameters())  # listing them at each step takes long
        optimizer = speedups.optimizer(self.groups, settings, accelerator.device)
        self.average: AveragedModel | None = None
        if settings.ema is not None:
            rule = get_ema_multi_avg_fn(settings.ema)
            self.average = AveragedModel(model, multi_avg_fn=rule, use_buffers=True)
        recompute.apply(
            settings.gradient_checkpointing,
            backend.recomputable(model),
            self._ever_trained(),
            accelerator.device,
        )
        # What is distributed is the loss itself: backends may call any method of their network.
        losses = _Losses(backend, model)
        if settings.compile:
            losses.compile()
        self.losses, self.optimizer = accelerator.prepare(losses, optimizer)
        self.history = History()
        self.sums = EpochSums()  # of the epoch that is being trained
        self.step = 0  # optimiser steps done
        self.progress = 0.0  # as a batch has it (see ``contract.Batch``)
        #: where the weights came from that this training began with, as plain data: a process that
        #: goes on may have found others, and trains on with the checkpoint's all the same
        self.origin: dict[str, Any] = {}
        self.log = EpochLog(run_dir / NAME)
        self.kept = Kept(run_dir)
        self._begun = self._saved = time.monotonic()
        # seconds that training waited for the last checkpoint, less those of all writing before it
        self._saving = 0.0
        self.writes = Background()

    @property
    def main(self) -> bool:
        """Whether this process validates, logs and saves."""
        return bool(self.accelerator.is_main_process)

    @property
    def scored(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.model if self.average is None else self.average.module

    @property
    def trainable(self) -> int:
        """Number of parameters that the recipe trains at some time."""
        return sum(parameter.numel() for parameter in self._ever_trained())

    def _ever_trained(self) -> list[nn.Parameter]:
        return [
            parameter
            for name, parameters in self.groups.items()
            if ever_trained(self.settings, name, self.plan)
            for parameter in parameters
        ]

    def _check_stages(self, backend: Backend, model: nn.Module) -> None:
        """Raises RecipeError where ``unfreeze`` names a group that the backend does not have, which
        would freeze nothing, or leaves no group that ever learns."""
        known = backend.parameter_groups(model)
        for stage in self.settings.unfreeze:
            for name in stage.lr:
                if name not in known:
                    raise RecipeError(
                        f"train.unfreeze: the network has no parameter group '{name}'. Known: "
                        f"{', '.join(known)}."
                    )
        if not self._ever_trained():
            raise RecipeError(
                "train.unfreeze keeps every parameter group at a rate of 0 to the end, so that "
                "nothing is trained. Give one a rate above 0, or use: benchbcss evaluate"
            )

    @property
    def done(self) -> bool:
        return self.history.ended or self.step >= self.plan.steps

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before an interruption included."""
        return time.monotonic() - self._begun

    def _spent(self) -> float:
        """The share of a time budget, by the first process's clock, or processes would train apart;
        0 without one."""
        if self.plan.seconds is None:
            return 0.0
        return float(self.shared(self.elapsed / self.plan.seconds))

    def out_of_time(self) -> bool:
        """Whether a time budget is spent."""
        return self._spent() >= 1

    def shared(self, value: Any) -> Any:
        """The first process's ``value``, in every process."""
        return of_first(self.accelerator, value)

    def everywhere(self, condition: bool) -> bool:
        """Whether ``condition`` holds in every process: one's trouble must end all, or the others
        would wait for ever."""
        if self.world == 1:
            return condition
        everyone = torch.tensor([condition], device=self.accelerator.device)
        return bool(self.accelerator.gather(everyone).all())

    def batches(self, data: TrainingData) -> Iterator[Sample]:
        """This process's share of every micro-batch that is left, on its device.

        With a GPU, samples travel as they were read and are augmented there: a quarter of the bytes
        between processes, and the CPU cores are left to reading.
        """
        micro = self.plan.accumulate
        device = self.accelerator.device
        dataset = StepDataset(
            data,
            self.plan.batch_size,
            self.step * micro,
            self.plan.steps * micro,
            self.accelerator.process_index,
            self.world,
            raw=self.augment_on_device,
            per_epoch=self.plan.steps_per_epoch * micro,
        )
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=device.type == "cuda",
        )
        for image, target, names, *seeds in loader:
            image = image.to(device, non_blocking=True)
            target = target.to(device, non_blocking=True)
            if seeds:
                image, target = finished_batch(data, image, target, seeds[0])
            if self.settings.channels_last:
                image = image.contiguous(memory_format=torch.channels_last)
            yield image, target, names

    def set_rates(self) -> dict[str, float]:
        """Set every group's learning rate for this step, and freeze or thaw the groups that the
        recipe's ``unfreeze`` names; returns the rates. ``progress`` is that of this step, too."""
        spent = self._spent()
        self.progress = min(1.0, max(self.step / self.plan.steps, spent))
        rates = group_rates(self.settings, list(self.groups), self.step, self.plan, spent)
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        for name in {name for stage in self.settings.unfreeze for name in stage.lr}:
            for parameter in self.groups.get(name, ()):
                parameter.requires_grad_(rates[name] > 0)
        return rates

    def clip(self) -> Tensor:
        """Clip the gradients; returns their norm before, a scalar on the accelerator's device; it
        is not finite where they are not."""
        parameters = [p for p in self._parameters if p.grad is not None]
        self.scaler.unscale(p.grad for p in parameters if p.grad is not None)
        norm = self.accelerator.clip_grad_norm_(parameters, self.settings.clip_norm)
        known = 0.0 if norm is None else norm
        return torch.as_tensor(known, device=self.accelerator.device).detach()

    def update(self, rates: dict[str, float]) -> None:
        """Take one optimiser step."""
        if self.settings.unfreeze:
            # In a staged recipe, a group at rate 0 gathers no moments either.
            for name, parameters in self.groups.items():
                if not rates[name]:
                    for parameter in parameters:
                        parameter.grad = None
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1

    def skip(self) -> None:
        """Leave this step out, which its epoch's record counts: its samples are used up, and its
        scaled gradients are not finite."""
        self.sums.skipped += 1
        self.step += 1

    def finite_weights(self) -> bool:
        """Whether every parameter that is optimised is finite."""
        parameters = [p for group in self.groups.values() for p in group]
        return bool(torch.stack([parameter.isfinite().all() for parameter in parameters]).all())

    def diverge(self, what: str, detail: str = "", step: int | None = None) -> None:
        """Training ends here, since ``what`` is not finite, at the present step where no other is
        given; ``finish`` then loads the best weights, or those of the start where no validation has
        a value. The first such end is the one that is told."""
        if self.history.diverged is not None:
            return
        step = self.step if step is None else step
        reason = f"{what} was not finite at step {step}{detail}"
        self.history.diverged = {"what": what, "step": step, "reason": reason}
        self.history.end(reason)

    def keep_start(self) -> None:
        """Save the weights as loaded where the best will be: they are scored when training
        diverges before any validation."""
        if self.main:
            self.kept.forget_best()
            self._save_best(0, None)

    def keep_best(self, value: float | None) -> None:
        """Save the scored weights when ``value`` is among the best validations so far, of which the
        plan says how many are kept."""
        if value is None or not self.history.propose(self.step, value, self.plan.candidates):
            return
        if self.main:
            self._save_best(self.step, value)

    def _save_best(self, step: int, value: float | None) -> None:
        self.writes.wait(leave=1)  # before there is another copy in memory
        tensors, now = snapshot(self.scored), replace(self.history)
        self.writes.do(lambda: self.kept.save_best(tensors, step, value, now))

    def unify(self) -> None:
        """What is validated is the first process's network: others have their own running
        statistics until their next step, and averages of those."""
        if self.world == 1:
            return
        for tensor in self.scored.state_dict().values():
            shared = tensor.detach().contiguous()
            torch.distributed.broadcast(shared, 0)
            tensor.detach().copy_(shared)

    def add_record(self, record: dict[str, Any]) -> None:
        """An epoch is over: into history and log."""
        self.history.seconds = self.elapsed
        record["seconds"] = round(self.history.seconds, 2)
        self.history.records.append(record)
        if self.main:
            self.log.append(record)

    def save(self) -> None:
        """Write the checkpoint ``last``, everything that ``resume`` needs, while training goes on;
        the one before it becomes ``previous``."""
        begun = time.monotonic()
        if self.main:
            self.writes.wait(leave=1)  # before there is another copy in memory
            state = {
                "step": self.step,
                "history": vars(self.history),
                "sums": vars(self.sums),
                "scaler": self.scaler.state(),
                "origin": self.origin,
            }
            tensors = snapshot(self.model, self.optimizer, self.average)
            now = json.loads(json.dumps(state, allow_nan=False))  # training changes its own
            self.writes.do(lambda: self._write(tensors, now))
        self._saved = time.monotonic()
        self._saving = self._saved - begun - self.writes.seconds

    def _write(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.kept.make_room()
        digest = write_checkpoint(self.run_dir, "last", tensors, state)
        self.kept.saved_last(digest, History(**state["history"]))

    def save_if_due(self) -> None:
        """Save at the end, and once ``checkpoint_every`` seconds have passed since the last save,
        of which writing, also in the background, took at most ``checkpoint_share``."""
        took = self._saving + self.writes.seconds
        wait = self.checkpoint_every and max(self.checkpoint_every, took / self.checkpoint_share)
        if self.done or time.monotonic() - self._saved > wait:
            self.save()

    def stop_if_asked(self) -> None:
        """Save and raise ``StopRequested`` where the first process was asked to stop."""
        if self.shared(interrupt.asked()):
            self.history.seconds = self.elapsed
            self.save()
            self.writes.wait()
            raise interrupt.StopRequested

    def resume(self) -> bool:
        """Go on, bit for bit, from the last checkpoint that is as it was written and whose best
        weights are; False where there is none.

        The log is cut back to it: the epochs after it are trained, and logged, again.
        """
        name = self.shared(self.kept.newest() if self.main else None)
        state = None
        if name is not None:
            state = load_checkpoint(self.run_dir, name, self.model, self.optimizer, self.average)
        if state is not None:
            self.step = state["step"]
            self.history = History(**state["history"])
            self.sums = EpochSums(state.get("sums"))  # not in those of earlier editions
            self.scaler.load(state.get("scaler"))
            self.origin = state.get("origin") or self.origin  # nor is this
        if self.main:
            self.log.restart(self.history.records)
        self.start_clock()
        return state is not None

    def start_clock(self) -> None:
        """Training goes on now: what passed since the last epoch was not training."""
        self._saved = time.monotonic()
        self._begun = self._saved - self.history.seconds

    def load_best(self, step: int) -> None:
        """The weights of the validation at ``step``, into the model of every process. Raises
        RunError where they are not as they were written."""
        name = self.shared(self.kept.name_of(step) if self.main else None)
        if name is None or load_checkpoint(self.run_dir, name, self.model, None) is None:
            raise RunError(
                f"The weights of step {step} in {self.run_dir}/checkpoints, which may be scored, "
                f"were damaged or removed during training. {AGAIN}."
            )

    def finish(self) -> History:
        """Load the weights to be scored; see ``History.scored``."""
        self.writes.wait()
        self.accelerator.wait_for_everyone()
        if self.history.scored != "last":
            self.load_best(self.history.best_step or 0)
        elif self.average is not None:
            self.model.load_state_dict(self.scored.state_dict())
        self.history.seconds = self.elapsed
        return self.history


class _Losses(nn.Module):
    """A backend's loss as a module's forward pass, so that gradients are shared by processes."""

    def __init__(self, backend: Backend, model: nn.Module) -> None:
        super().__init__()
        self.backend, self.model = backend, model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.backend.loss(self.model, batch)


def freeze_others(model: nn.Module, groups: Mapping[str, Sequence[nn.Parameter]]) -> None:
    """Parameters in no group get no gradients: nothing would clear them, so that they would grow
    from step to step, and count when the others' are clipped."""
    grouped = {id(parameter) for parameters in groups.values() for parameter in parameters}
    for parameter in model.parameters():
        if id(parameter) not in grouped:
            parameter.requires_grad_(False)


def trainable_groups(backend: Backend, model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The backend's parameter groups, without what it froze itself and without empty groups.

    Raises PluginError where a parameter is in two groups or none is trainable.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    seen: set[int] = set()
    given = backend.parameter_groups(model)
    if not isinstance(given, dict):
        raise PluginError(
            f"parameter_groups() returned a {type(given).__name__}, expected a dict of lists of "
            f"parameters"
        )
    for name, members in given.items():
        parameters = list(members)
        for parameter in parameters:
            if not isinstance(parameter, nn.Parameter):
                raise PluginError(
                    f"parameter_groups: '{name}' holds a {type(parameter).__name__}, expected "
                    f"parameters"
                )
            if id(parameter) in seen:
                raise PluginError(f"parameter_groups: a parameter of '{name}' is in two groups")
            seen.add(id(parameter))
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        if trainable:
            groups[name] = trainable
    if not groups:
        raise PluginError(
            "parameter_groups: no parameter is trainable. Leave requires_grad on for what training "
            "should change, or declare trains=False."
        )
    return groups
