"""Inside a worker: the data, the backend and its model, and the steps of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from PIL import Image
from torch import nn

from benchbcss import registry
from benchbcss.contract import Context, Task, Track
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError, PluginError, WeightsError
from benchbcss.inference.clip import Source
from benchbcss.inference.predictor import Predictor
from benchbcss.inference.prompts import BOX_CLASS
from benchbcss.io import read_json, write_bytes, write_json
from benchbcss.runs import masks
from benchbcss.runs.spec import RunSpec
from benchbcss.scoring import (
    pair_counts,
    per_roi,
    per_roi_prompted,
    prompted_counts,
)
from benchbcss.training import augment, loop, schedule, stability
from benchbcss.training.checkpoint import load_checkpoint, save_checkpoint
from benchbcss.training.samples import TrainingData
from benchbcss.training.trainer import Trainer


class Session:
    """One run being executed."""

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        self.spec, self.run_dir = spec, run_dir
        plugins = registry.load()
        self.hooks = plugins.manager.hook
        registered = plugins.backend(spec.backend)
        self.info, self.source = registered.info, registered.source
        dataset = Dataset(Path(spec.data_root), TileStore(Path(spec.store_root)))
        self.labels = spec.suite.labels(dataset.code_table())
        names = (*spec.split.train, *spec.split.val, *spec.split.test)
        self.rois = dataset.rois(names, self.labels)

        recipe = spec.recipe
        squashed = recipe.view.protocol == "squash" or spec.suite.protocol == "squash1024"
        own = recipe.view.protocol == "squash"
        self.squash = (recipe.view.size if own else spec.suite.tile.size) if squashed else None
        self.prompt_size = recipe.view.size
        mixed = "bf16" if self._bf16() else "no"
        # Without a GPU, accelerate must be told so before it lets several processes train.
        cpu = spec.device == "cpu" or (spec.processes > 1 and not torch.cuda.is_available())
        self.accelerator = Accelerator(
            cpu=cpu,
            mixed_precision=mixed,
            # Frozen groups thaw later, and prompts may not touch every parameter.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        pixels = sum(
            (self.rois[name].class_pixels(self.labels) for name in spec.split.train),
            np.zeros(len(self.labels.classes), np.int64),
        )
        self.task = Task(
            self.labels.class_names, self.labels.mean_classes, spec.suite.mpp, spec.suite.tile.size
        )
        self.context = Context(
            spec.seed,
            self.accelerator.device,
            spec.weights,
            # A random start would be a silent stand-in for the weights to be scored.
            strict_weights=spec.weights != "none"
            and (spec.preset == "full" or spec.evaluate is not None),
            class_pixels=[int(count) for count in pixels],
            clip=Source(spec.clip, self.accelerator.device),
            evaluating=spec.evaluate is not None,
        )
        torch.manual_seed(spec.seed)
        self.backend = registered.load()(self.task, recipe.model_dump(), self.context)
        self.model: nn.Module = self.backend.build().to(self.accelerator.device)
        start = self.context.notes.setdefault("weights", "random")
        if spec.evaluate and spec.weights != "none" and start.startswith("random"):
            raise WeightsError(
                f"There are no weights to evaluate: '{spec.backend}' starts from {start}. "
                f"Pass --weights PATH."
            )
        parameters = list(self.model.parameters())
        self.parameters = {  # as built; replaced by what the loop trains, where it does
            "total": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        }

        allowed = self.backend.strategies
        self.promptings = [
            each
            for each in spec.suite.prompting.all()
            if allowed is None or each.strategy in allowed
        ]
        self.not_measured: dict[str, str] = {}
        for track in spec.suite.tracks:
            if track in self.info.tracks:
                reason = self._unavailable(track)
                if reason:
                    self.not_measured[track] = reason

    @property
    def tracks(self) -> list[str]:
        tracks = [track for track in self.spec.suite.tracks if track in self.info.tracks]
        return [track for track in tracks if track not in self.not_measured]

    def _unavailable(self, track: Track) -> str | None:
        headline = self.spec.suite.prompting.headline
        if track == "prompted" and headline not in [each.key for each in self.promptings]:
            return f"it cannot use the suite's headline prompting, {headline}"
        return self.backend.unavailable(track)

    def _bf16(self) -> bool:
        wanted = self.spec.recipe.train.precision if self.spec.recipe.train else "auto"
        cuda = torch.cuda.is_available() and self.spec.device != "cpu"
        return wanted == "bf16" or (wanted == "auto" and cuda)

    # -- training -------------------------------------------------------------------------------

    def follow(self) -> None:
        """What every process but the first does: its share of each training batch."""
        if not (self.run_dir / "training.json").is_file():
            self._train(lambda *_, **__: None, {})

    def train(self, stage: Callable[..., None]) -> dict[str, Any]:
        """Train unless it is done already; returns what the record says about training."""
        done = self.run_dir / "training.json"
        if done.is_file():
            load_checkpoint(self.run_dir, "final", self.model, None)
            summary: dict[str, Any] = read_json(done)
            self.context.notes.update(summary["notes"])
            self._count_trained(summary)
            return summary
        summary = {"trained": False, "seconds": 0.0, "stability": None}
        begun = time.monotonic()
        data = self._train(stage, summary)
        self._count_trained(summary)
        stage("finishing training")
        self.model.eval()
        self.backend.after_training(self.model, data)
        summary["seconds"] = round(time.monotonic() - begun, 2)
        summary["notes"] = self.context.notes
        save_checkpoint(self.run_dir, "final", self.model, None, {})
        write_json(done, summary)
        return summary

    def _count_trained(self, summary: dict[str, Any]) -> None:
        """What the loop trained is counted by the loop: a schedule may leave some out."""
        trained = summary.get("trainable_parameters", self.parameters["trainable"])
        self.parameters["trainable"] = trained

    def _train(self, stage: Callable[..., None], summary: dict[str, Any]) -> TrainingData:
        """The loop, or the backend's own fit; returns the data without augmentation."""
        settings = self.spec.recipe.train
        first = self.accelerator.is_main_process
        data = TrainingData(
            [self.rois[name] for name in self.spec.split.train],
            self.labels,
            self.spec.suite.tile.size,
            self.squash,
            self.spec.seed,
        )
        if self.spec.evaluate is not None:
            pass  # the weights are scored as they are
        elif first and self.backend.fit(self.model, data):
            stage("fitted")
            summary["own_fit"] = True
        elif self.info.trains and settings is not None:
            data.augment = augment.pipeline(settings.augment)
            data.rare_class_probability = settings.rare_class_probability
            data.scales = settings.scales
            summary.update(self._loop(data, stage))
        data.rare_class_probability = 0.0
        return data

    def _loop(self, data: TrainingData, stage: Callable[..., None]) -> dict[str, Any]:
        settings = self.spec.recipe.train
        assert settings is not None
        plan = schedule.plan(settings, self.spec.suite.budget, len(data))
        prompted = self.backend.validation == "prompted"
        floor = self._whole_floor() if prompted else self._majority_floor()

        def on_epoch(record: dict[str, Any]) -> None:
            value = record.get("val_mean_dice")
            stage(
                "training",
                epoch=record["epoch"] + 1,
                epochs=plan.epochs,
                step=record["step"],
                loss=_short(record["loss"].get("loss")),
                val=_short(value),
                tissue=_short(record.get("val_any_tissue_dice")),
            )
            self.hooks.benchbcss_epoch_end(run_dir=self.run_dir, record=record)

        trainer = Trainer(
            self.backend,
            self.model,
            settings,
            plan,
            self.accelerator,
            self.run_dir,
            seed=self.spec.seed,
            workers=8 if self.accelerator.device.type == "cuda" else 0,
        )
        history = loop.train(
            trainer,
            data,
            validate=self.validate if self.spec.split.val else None,
            on_epoch=on_epoch,
        )
        validated = [r for r in history.records if "val_mean_dice" in r]
        best = next((r for r in validated if r["step"] == history.best_step), {})
        name = "answering with the whole ROI" if prompted else "the majority floor"
        verdict = stability.judge(
            stability.Course.of(history), None if floor is None else stability.Floor(floor, name)
        )
        return {
            "trained": True,
            "steps": history.records[-1]["step"] if history.records else 0,
            "epochs": len(history.records),
            "batch_size": plan.batch_size,
            "trainable_parameters": trainer.trainable,
            "processes": self.accelerator.num_processes,
            "images": plan.batch_size * (history.records[-1]["step"] if history.records else 0),
            "budget": plan.budget,
            "stopped": history.stopped,
            "start": history.start,
            "diverged": history.diverged,
            "checkpoint": history.scored,
            "monitor": settings.monitor,
            "best_validation": history.best,
            "best_step": history.best_step,
            "best_mean_dice": best.get("val_mean_dice"),
            "best_any_tissue_dice": best.get("val_any_tissue_dice"),
            "validation_track": self.backend.validation,
            "loop_seconds": round(history.seconds, 2),
            "stability": vars(verdict),
        }

    def validate(self, model: nn.Module) -> loop.Validation:
        """Mean per-class Dice over the validation ROIs, `per_roi` estimand, whole ROIs."""
        predictor = self.predictor(model)
        rois = [self.rois[name] for name in self.spec.split.val]
        tissue = np.zeros(3, np.int64)  # hit, true, predicted pixels of any tissue; ignored is rest
        if self.backend.validation == "prompted":
            rows = []
            for roi in rois:
                target = roi.target(self.labels)
                found = predictor.prompted(roi.image(), target)[BOX_CLASS.key]
                rows.append(prompted_counts(target, found, self.labels.mean_classes))
                true = np.isin(target, self.labels.tissue_classes)
                union = np.zeros_like(true)
                for mask in found.values():
                    union |= mask
                tissue += [np.count_nonzero(part) for part in (true & union, true, union)]
            score = per_roi_prompted(np.stack(rows))
            names = [self.labels.class_names[label] for label in self.labels.mean_classes]
        else:
            classes, named = self.task.num_classes, list(self.labels.tissue_classes)
            pairs = np.stack(
                [
                    pair_counts(roi.target(self.labels), predictor.semantic(roi.image()), classes)
                    for roi in rois
                ]
            )
            total = pairs.sum(0)
            tissue += [total[named][:, named].sum(), total[named].sum(), total[:, named].sum()]
            score = per_roi(pairs[:, :-1], self.labels.mean_classes)
            names = list(self.labels.class_names)
        dice = dict(zip(names, (_none(value) for value in score.dice), strict=True))
        hit, true_pixels, predicted = (int(count) for count in tissue)
        any_tissue = 2 * hit / (true_pixels + predicted) if true_pixels else None
        return loop.Validation(_none(score.mean), dice, any_tissue)

    def _majority_floor(self) -> float | None:
        """What painting the training majority everywhere scores on the validation ROIs."""
        if not self.spec.split.val:
            return None
        majority = int(np.argmax(self.context.class_pixels))
        counts = np.zeros((len(self.spec.split.val),) + 2 * (self.task.num_classes,), np.int64)
        for index, name in enumerate(self.spec.split.val):
            counts[index, :, majority] = self.rois[name].class_pixels(self.labels)
        return _none(per_roi(counts, self.labels.mean_classes).mean)

    def _whole_floor(self) -> float | None:
        """What answering every prompt with the whole ROI scores on the validation ROIs."""
        if not self.spec.split.val:
            return None
        mean = list(self.labels.mean_classes)
        counts = np.zeros((len(self.spec.split.val), len(mean), 4), np.int64)
        for index, name in enumerate(self.spec.split.val):
            pixels = self.rois[name].class_pixels(self.labels)
            present = pixels[mean] > 0
            counts[index, :, 0] = pixels[mean]
            counts[index, :, 1] = np.where(present, pixels.sum() - pixels[mean], 0)
        return _none(per_roi_prompted(counts).mean)

    # -- prediction -----------------------------------------------------------------------------

    def predictor(self, model: nn.Module | None = None) -> Predictor:
        cuda = self.accelerator.device.type == "cuda"
        return Predictor(
            self.backend,
            self.model if model is None else model,
            self.squash,
            self.spec.suite.tile.size,
            self.spec.suite.tile.overlap,
            self.prompt_size,
            self.accelerator.device,
            self.accelerator.autocast,
            batch=8 if cuda else 1,
            tta=self.spec.recipe.view.tta,
            accumulate=getattr(torch, self.spec.suite.tile.accumulate),
        )

    def predict(self, stage: Callable[..., None]) -> dict[str, float]:
        """Write the test ROIs' predictions as PNG; returns seconds per track."""
        predictor = self.predictor()
        seconds = {}
        for track in self.tracks:
            begun = time.monotonic()
            for number, name in enumerate(self.spec.scored, start=1):
                stage("predicting", track=track, roi=number, of=len(self.spec.scored))
                try:
                    for folder, array in self._predict(predictor, track, self.rois[name]):
                        folder.mkdir(parents=True, exist_ok=True)
                        write_bytes(folder / name, masks.png(Image.fromarray(array)))
                except BenchError as error:
                    raise PluginError(
                        f"{self.info.name} ({self.source}) on {name}: {error}"
                    ) from error
            seconds[track] = round(time.monotonic() - begun, 3)
        self.context.notes["encoder_calls"] = predictor.encoder_calls
        return seconds

    def _predict(
        self, predictor: Predictor, track: str, roi: Roi
    ) -> Iterator[tuple[Path, np.ndarray]]:
        if track == "semantic":
            yield masks.folder(self.run_dir), predictor.semantic(roi.image())
            return
        for key, found in predictor.each_prompted(
            roi.image(),
            roi.target(self.labels),
            self.promptings,
            roi=roi.name,
            only_largest=self.spec.suite.prompting.only_largest,
        ):
            yield masks.folder(self.run_dir, key), masks.pack(found, roi.shape)


def _none(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
