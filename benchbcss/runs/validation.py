"""Validation in a worker: which ROIs and how often, shared by the processes that train together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from accelerate.utils import gather_object
from torch import nn

from benchbcss.contract import BOX_CLASS, Prompting
from benchbcss.errors import NonFiniteError, PluginError
from benchbcss.inference.guard import lifted
from benchbcss.progress import SILENT, Progress
from benchbcss.results.schema import ValidationUsed, WholeValidation
from benchbcss.runs.setup import Job
from benchbcss.tracks import get
from benchbcss.tracks.base import Validation
from benchbcss.training import validation
from benchbcss.training.history import History
from benchbcss.training.samples import seed_of
from benchbcss.training.schedule import Plan
from benchbcss.training.schedule import plan as planned
from benchbcss.training.validation import Schedule

Counts = Mapping[str, np.ndarray]


def schedule(job: Job, plan: Plan, seed: int | None = None) -> Schedule | None:
    """How a training of ``plan`` is validated, the part of the ROIs drawn with the run's seed or
    another; None where there is nothing to validate."""
    names, train = job.spec.split.val, job.spec.recipe.train
    if not names or train is None:
        return None
    classes = {name: _classes(job, name) for name in names}
    institutes = {name: job.rois[name].institute for name in names}
    drawn = seed_of(job.spec.seed if seed is None else seed, "validation")
    order = validation.ordered(classes, institutes, drawn)
    covering = validation.covering(order, classes)
    return validation.schedule(train, plan, passes(job), order, covering)


def schedules(job: Job, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Before anything is trained: the schedule of each seed as plain data, and in a sentence. Those
    alone whose run the harness's loop trains and validates."""
    train = job.spec.recipe.train
    if job.spec.evaluate is not None or train is None or not job.registered.info.trains:
        return {}
    plan = planned(train, job.spec.suite.budget, len(job.spec.split.train))
    made = {seed: schedule(job, plan, seed) for seed in seeds}
    return {
        seed: {"sentence": watched.sentence(), **asdict(watched)}
        for seed, watched in made.items()
        if watched is not None
    }


def passes(job: Job) -> dict[str, int]:
    """Forward passes that each validation ROI takes, as the backend sees it."""
    track, recipe = get(job.backend.validation), job.spec.recipe.view
    tile, prompting = job.spec.suite.tile, _prompting(job)
    return {
        name: track.passes(job.rois[name].shape, job.view, tile, recipe.tta, prompting)
        for name in job.spec.split.val
    }


def _classes(job: Job, name: str) -> frozenset[str]:
    """Of the mean, those that the ROI has."""
    pixels = job.rois[name].class_pixels(job.labels)
    return frozenset(job.labels.class_names[k] for k in job.labels.mean_classes if pixels[k])


def _prompting(job: Job) -> Prompting:
    """The suite's headline, or what comes next among those that the backend can use."""
    return job.promptings[0] if job.promptings else BOX_CLASS


class _Trouble(NamedTuple):
    """What ended one process's share, for the others: an exception does not travel as it is."""

    diverged: bool
    text: str


def validate(
    job: Job,
    model: nn.Module,
    names: Sequence[str],
    progress: Progress = SILENT,
    *,
    alone: bool = False,
) -> Validation:
    """Mean per-class Dice over the ROIs ``names``, by the track that the backend validates in.

    Every process that trains counts its share of them, and gets what one process would have got:
    counts are integers, summed in the order of ``names``. ``alone``: no other process is asked.
    Raises in all of them what was raised in any: NonFiniteError, which ends training without
    failing the run, or PluginError.
    """
    rank, world = (
        (0, 1) if alone else (job.accelerator.process_index, job.accelerator.num_processes)
    )
    track = get(job.backend.validation)
    predictor = job.predictor(model)
    counts: dict[int, Counts] = {}
    raised: Exception | None = None
    try:
        with lifted(), _named(job, predictor):
            for index in progress.counted(range(rank, len(names), world), doing="validating"):
                roi = job.rois[names[index]]
                counts[index] = track.count(predictor, roi, job.labels, _prompting(job))
    except Exception as error:
        if world == 1:
            raise
        raised = error
    if world > 1:
        counts = _gathered(counts, raised)
    return track.validation([counts[index] for index in range(len(names))], job.labels)


def _gathered(counts: Mapping[int, Counts], raised: Exception | None) -> dict[int, Counts]:
    """Those of all processes. Every one of them is heard before anything is raised: one that was
    missing would be waited for."""
    trouble = None
    if raised is not None:
        trouble = _Trouble(isinstance(raised, NonFiniteError), str(raised))
    shares: list[tuple[Mapping[int, Counts], _Trouble | None]] = gather_object([(counts, trouble)])
    if raised is not None and trouble is not None and not trouble.diverged:
        raise raised
    troubles = [other for _, other in shares if other is not None]
    for other in sorted(troubles, key=lambda item: item.diverged):  # errors before divergences
        raise (NonFiniteError if other.diverged else PluginError)(other.text)
    return {index: part for share, _ in shares for index, part in share.items()}


@contextmanager
def _named(job: Job, predictor: Any) -> Iterator[None]:
    """Errors of the plugin name it and the ROI."""
    try:
        yield
    except NonFiniteError:
        raise
    except PluginError as error:
        raise PluginError(f"{job.plugin} on {predictor.roi}, in validation: {error}") from error


def chosen(history: History) -> dict[str, Any]:
    """The validation of the weights that are scored: of the whole set where that was made."""
    validated = [record for record in history.records if "val_mean_dice" in record]
    made = history.whole or validated
    return next((entry for entry in made if entry["step"] == history.best_step), {})


def made(watched: Schedule | None, history: History, samples: int) -> dict[str, Any] | None:
    """What was validated in a training on so many ``samples``, and at what cost; see
    ``ValidationUsed``."""
    if watched is None:
        return None
    validations = sum("val_mean_dice" in record for record in history.records)
    validations += history.start is not None
    spent = watched.spent(samples, validations, len(history.whole))
    used = ValidationUsed(
        rois=list(watched.rois),
        of=watched.of,
        every=watched.every,
        share_allowed=watched.allowed,
        share_planned=watched.share,
        share=spent["validation"] / max(1, sum(spent.values())),
        passes=spent,
        whole=[
            WholeValidation(
                step=entry["step"],
                watched=entry["watched"],
                monitored=entry.get("val_monitored"),
                mean_dice=entry.get("val_mean_dice"),
                any_tissue_dice=entry.get("val_any_tissue_dice"),
                dice=entry.get("val_dice", {}),
            )
            for entry in history.whole
        ],
    )
    return used.model_dump(mode="json")
