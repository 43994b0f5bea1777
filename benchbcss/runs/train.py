"""The training step of a run: the harness's loop, the backend's own fit, or nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbcss import interrupt
from benchbcss.errors import RecipeError
from benchbcss.io import check, read_json, trusted, write_json
from benchbcss.plain import plain
from benchbcss.progress import SILENT, Count, Progress
from benchbcss.results import provenance
from benchbcss.results.schema import Stability, Training
from benchbcss.results.store import VALIDATION
from benchbcss.runs import validation
from benchbcss.runs.predict import discard
from benchbcss.runs.setup import Job, count_parameters
from benchbcss.runs.validation import validate
from benchbcss.tracks import get
from benchbcss.training import augment, loading, loop, schedule, stability
from benchbcss.training.checkpoint import load_checkpoint, path_of, save_checkpoint
from benchbcss.training.log import NAME, EpochLog
from benchbcss.training.processes import of_first
from benchbcss.training.samples import TrainingData, seed_all, seed_of
from benchbcss.training.trainer import Trainer
from benchbcss.training.validation import Schedule
from benchbcss.weights import Provenance

SUMMARY = "training.json"
FINAL = "final"  # the checkpoint that is predicted with


def follow(job: Job) -> None:
    """What every process but the first does: its share of each training batch, and of the ROIs of
    each validation."""
    if not is_done(job.run_dir):
        _train(job, SILENT, {})


def is_done(run_dir: Path) -> bool:
    """Whether training has ended here, and left its summary and weights as they were written."""
    return trusted(run_dir / SUMMARY) and trusted(path_of(run_dir, FINAL))


def train(job: Job, stage: Progress) -> tuple[Training, Stability | None]:
    """Train unless it is done already; what the record says about it.

    Where the summary or the final weights are damaged or gone, they are made anew: from the last
    good checkpoint, or from the start. Predictions are then made anew too.
    """
    done = job.run_dir / SUMMARY
    if is_done(job.run_dir):
        load_checkpoint(job.run_dir, FINAL, job.model, None)
        summary: dict[str, Any] = read_json(done)
        _log(job, summary)
        job.context.notes.update(summary["notes"])
        if "provenance" in summary:  # of the start that was trained from
            job.provenance = Provenance(**summary.pop("provenance"))
        _count_trained(job, summary)
        return _typed(summary)
    if done.exists():
        stage.note("the end of training is damaged: it is reached again")
        done.unlink()
    discard(job.run_dir)  # predictions are those of the weights that training is about to leave
    summary = {"trained": False, "seconds": 0.0, "stability": None}
    begun = time.monotonic()
    data = _train(job, stage, summary)
    _count_trained(job, summary)
    stage("finishing training")
    job.model.eval()
    seed_all(seed_of(job.spec.seed, "after training"))  # wherever an interrupted run came from
    with job.guarded("running after_training"), job.precision.autocast():
        job.backend.after_training(job.model, data)
    summary["seconds"] = round(time.monotonic() - begun, 2)
    summary["notes"] = plain(job.context.notes)
    save_checkpoint(job.run_dir, FINAL, job.model, None, {})
    write_json(done, {**summary, "provenance": job.provenance.model_dump(mode="json")})
    _log(job, summary)
    return _typed(summary)


def _log(job: Job, summary: dict[str, Any]) -> None:
    """Write the log of epochs from the summary, which keeps them too, where it is not as it was
    when training ended."""
    records, path = summary.pop("log", None), job.run_dir / NAME
    if records is not None and check(path) != "ok":
        EpochLog(path).finish(records)


def hold(job: Job, training: Training, stage: Progress) -> None:
    """Leave the run here, with the validation score of the weights that would be scored."""
    mean = training.best_mean_dice
    if mean is None and job.spec.split.val:  # it was not trained, or not by the loop
        stage("validating")
        mean = validate(job, job.model, job.spec.split.val, stage, alone=True).mean
    content = {"mean_dice": mean, "track": job.backend.validation}
    write_json(job.run_dir / VALIDATION, content)


def _count_trained(job: Job, summary: dict[str, Any]) -> None:
    """What the loop trained is counted by the loop: a schedule may leave some groups out. A fit of
    the backend's own may have made the network in the first place."""
    if summary.get("own_fit"):
        job.parameters = count_parameters(job.model)
    trained = summary.get("trainable_parameters")
    if trained is not None:
        job.parameters = job.parameters.model_copy(update={"trainable": trained})


def _typed(summary: dict[str, Any]) -> tuple[Training, Stability | None]:
    apart = ("notes", "stability")
    training = Training(**{key: value for key, value in summary.items() if key not in apart})
    verdict = summary.get("stability") if training.trained else None
    return training, None if verdict is None else Stability.model_validate(verdict)


def _train(job: Job, stage: Progress, summary: dict[str, Any]) -> TrainingData:
    """The loop, or the backend's own fit; returns the data without augmentation."""
    settings = job.spec.recipe.train
    data = TrainingData(
        [job.rois[name] for name in job.spec.split.train],
        job.labels,
        job.spec.suite.tile.size,
        job.view,
        job.spec.seed,
        validation=[job.rois[name] for name in job.spec.split.val],
    )
    if job.spec.evaluate is not None:
        return data  # the weights are scored as they are
    fitted = job.accelerator.is_main_process and _fit(job, data, stage)
    if settings is not None:  # others would wait in a loop that the first never enters
        fitted = of_first(job.accelerator, fitted)
    if fitted:
        stage("fitted")
        summary["own_fit"] = True
        summary["peak_host_bytes"] = provenance.peak_host_bytes(children=True)
        summary["peak_gpu_bytes"] = job.context.peak_gpu_bytes
    elif job.registered.info.trains and settings is not None:
        data.augment = augment.pipeline(settings.augment)
        data.rare_class_probability = settings.rare_class_probability
        data.scales = settings.scales
        data.views = settings.views
        summary.update(_loop(job, data, stage))
    data.rare_class_probability = 0.0
    return data


def _fit(job: Job, data: TrainingData, stage: Progress) -> bool:
    if job.registered.info.trains and job.spec.recipe.train is None:
        stage("training")  # by another program, which may take days
    with job.guarded("running fit"):
        return job.backend.fit(job.model, data)


def _loop(job: Job, data: TrainingData, stage: Progress) -> dict[str, Any]:
    settings = job.spec.recipe.train
    assert settings is not None
    plan = schedule.plan(settings, job.spec.suite.budget, len(data))
    watched = validation.schedule(job, plan)
    if watched is not None:
        plan = replace(plan, validate_every=watched.every, candidates=max(1, watched.best))
    trainer = Trainer(
        job.backend,
        job.model,
        settings,
        plan,
        job.accelerator,
        job.run_dir,
        seed=job.spec.seed,
        workers=_workers(job, data, plan.batch_size, stage),
    )
    trainer.origin = job.provenance.model_dump(mode="json")
    for remark in schedule.remarks(settings, plan):
        stage.note(remark)
    try:
        with interrupt.deferred():
            history = _steps(job, trainer, data, stage, watched)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RecipeError(
            f"{job.spec.backend} normalises over the batch, and a batch of {plan.batch_size} with "
            f"tiles of {data.tile} px leaves it one value per channel. Use larger tiles "
            f"(the suite's tile.size), more training ROIs or a larger train.batch_size."
        ) from error
    job.provenance = Provenance(**trainer.origin)
    chosen = validation.chosen(history)
    steps = history.records[-1]["step"] if history.records else 0
    samples = plan.batch_size * plan.accumulate * steps
    return {
        "trained": True,
        "steps": steps,
        "epochs": len(history.records),
        "batch_size": plan.batch_size,
        "trainable_parameters": trainer.trainable,
        "processes": job.accelerator.num_processes,
        "images": samples,
        "budget": plan.budget,
        "stopped": history.stopped,
        "start": history.start,
        "diverged": history.diverged,
        "checkpoint": history.scored,
        "monitor": settings.monitor,
        "best_validation": history.best,
        "best_step": history.best_step,
        "best_mean_dice": chosen.get("val_mean_dice"),
        "best_any_tissue_dice": chosen.get("val_any_tissue_dice"),
        "validation_track": job.backend.validation,
        "validation": validation.made(watched, history, samples),
        "loop_seconds": round(history.seconds, 2),
        "stability": vars(_judge(job, history, watched)),
        "log": history.records,
    }


def _workers(job: Job, data: TrainingData, batch_size: int, stage: Progress) -> int:
    """How many processes read samples, and a word where there could be more."""
    batch = -(-batch_size // job.accelerator.num_processes)  # this process's share
    number, remark = loading.workers(
        job.spec.workers,
        job.accelerator.device.type,
        job.accelerator.num_processes,
        batch * data.sample_bytes(job.accelerator.device.type == "cuda"),
    )
    if remark:
        stage.note(remark)
    return number


def _steps(
    job: Job, trainer: Trainer, data: TrainingData, stage: Progress, watched: Schedule | None
) -> loop.History:
    """The steps, counted."""
    plan = trainer.plan
    stage("training")
    if watched is not None and (watched.best or watched.every > trainer.settings.validate_every):
        stage.note(f"validation: {watched.sentence()}")

    def validates(names: Sequence[str]) -> loop.Validate:
        return lambda model: validate(job, model, names, stage)

    total = plan.steps if plan.seconds is None else None
    with stage.counting(total, "step") as count, job.guarded("training"):
        return loop.train(
            trainer,
            data,
            validate=validates(watched.rois) if watched else None,
            validate_whole=validates(job.spec.split.val) if watched and watched.best else None,
            on_epoch=lambda record: _tell(job, record, plan, stage),
            on_start=lambda: _begin(trainer, count, stage),
            on_step=count,
        )


def _judge(job: Job, history: loop.History, watched: Schedule | None) -> stability.Stability:
    """By the ROIs that were validated while training, and by what learning nothing scores on
    them."""
    track = get(job.backend.validation)
    rois = [job.rois[name] for name in (watched.rois if watched else ())]
    value, name = track.floor(rois, job.labels, job.context.class_pixels)
    floor = None if value is None else stability.Floor(value, name)
    return stability.judge(stability.Course.of(history), floor)


def _begin(trainer: Trainer, count: Count, stage: Progress) -> None:
    """The first step is about to be taken, or the first after an interruption."""
    plan, step = trainer.plan, trainer.step
    if plan.seconds is not None:
        count.until = time.monotonic() + plan.seconds - trainer.elapsed
    count(step)
    if step and not trainer.done:
        end = f"of {plan.steps}" if plan.seconds is None else f"after {trainer.elapsed:.0f} s"
        stage.note(f"continuing at step {step} {end}")


def _tell(job: Job, record: dict[str, Any], plan: schedule.Plan, stage: Progress) -> None:
    """An epoch is over and logged: say so to the console and to plugins."""
    stage(
        "training",
        epoch=record["epoch"] + 1,
        **({} if plan.seconds else {"epochs": plan.epochs}),
        step=record["step"],
        loss=_short(record["loss"].get("loss")),
        val=_short(record.get("val_mean_dice")),
        tissue=_short(record.get("val_any_tissue_dice")),
    )
    if dice := record.get("val_dice"):
        classes = (f"{name} {_short(value)}" for name, value in dice.items())
        print(f"validation Dice: {', '.join(classes)}", flush=True)
    job.announcer.epoch_ended(record)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
