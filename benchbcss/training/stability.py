"""Was training stable? Judged against the best so far and the start, with the evidence kept.

The start is the validation of the weights as loaded, before the first step. Statuses, in the order
in which they are looked for: ``diverged`` (a loss, gradient, weight or prediction that was not
finite, or a gradient spike that the loss did not survive), ``undefined`` (no validation has a pixel
to judge), ``no learning`` (neither start nor training rose above the floor), ``collapsed`` (a
validation far below the best so far or the start, or a sunken tail, by more than noise explains),
``no learning`` again (only the start is above the floor), ``no gain`` (training never rose above
its start), ``stable``. ``not applicable`` is said of runs without training. Thresholds and their
source: stability.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import numpy as np
import yaml

from benchbcss.recipes import Strict
from benchbcss.training.history import History

#: Upper quartile of |difference| of two normal values, in units of their standard deviation
_UPPER_QUARTILE = math.sqrt(2) * NormalDist().inv_cdf(0.875)


class Thresholds(Strict):
    """See stability.yaml for what each one means."""

    source: str
    after: float
    fall: float
    tail: float
    tail_validations: int
    false_alarm: float
    most_noise: float
    spike: float
    loss_rise: float
    recovered: float
    decline: float
    decline_validations: int


@cache
def thresholds() -> Thresholds:
    text = Path(__file__).with_name("stability.yaml").read_text(encoding="utf-8")
    return Thresholds.model_validate(yaml.safe_load(text))


@dataclass(frozen=True)
class Stability:
    """``status``: stable, collapsed, diverged, no learning, no gain, undefined or not applicable.

    ``note`` is what does not change the status: overfitting, or that a fall was recovered from.
    """

    status: str
    reason: str
    note: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Floor:
    """What a model that learned nothing scores on the same validation set."""

    value: float
    name: str = "the majority floor"


@dataclass(frozen=True)
class Course:
    """How a training went. Dice lies in [0, 1]; None where a validation had no pixel to judge.

    ``values[i]`` was validated after ``epochs[i]`` completed epochs, ``start`` before the first
    step. ``losses`` (means) and ``gradient_norms`` (largest) hold one value per epoch, None where
    not finite. ``diverged`` says what was not finite, and when. ``epochs_run`` counts the epochs
    that were trained, which need not be those planned: a quarter of training is a quarter of them.
    """

    epochs: Sequence[int]
    values: Sequence[float | None]
    start: float | None = None
    losses: Sequence[float | None] = ()
    gradient_norms: Sequence[float | None] = ()
    diverged: str | None = None
    epochs_run: int | None = None

    @classmethod
    def of(cls, history: History) -> Course:
        """From what the loop recorded."""
        validated = [record for record in history.records if "val_mean_dice" in record]
        return cls(
            epochs=[record["epoch"] + 1 for record in validated],
            values=[record["val_mean_dice"] for record in validated],
            start=history.start["val_mean_dice"] if history.start else None,
            losses=[record["loss"].get("loss") for record in history.records],
            gradient_norms=[record["grad_norm_max"] for record in history.records],
            diverged=_divergence(history),
            epochs_run=history.records[-1]["epoch"] + 1 if history.records else None,
        )

    @property
    def known(self) -> list[tuple[int, float]]:
        """(epochs completed, value) of every validation that is defined."""
        pairs = zip(self.epochs, self.values, strict=True)
        return [(epoch, value) for epoch, value in pairs if value is not None]


def _divergence(history: History) -> str | None:
    """What was not finite and when, and which weights are scored for it."""
    if history.diverged is None:
        return None
    scored = "the best checkpoint is scored"
    if history.best is None:
        scored = "there was no validation before it, so the weights as loaded are scored"
    return f"{history.diverged['reason']}; {scored}"


def not_trained() -> Stability:
    """The verdict on a run without training."""
    return Stability("not applicable", "nothing was trained by the harness's loop")


def judge(course: Course, floor: Floor | None = None) -> Stability:
    """Judge a training; ``floor`` is left out where there is none to compare with."""
    evidence = _evidence(course, floor)
    diverged = course.diverged or _spike(course)
    if diverged:
        return Stability("diverged", diverged, evidence=evidence)
    known = course.known
    if not known:
        made = "no validation has a pixel to judge" if course.epochs else "no validation was made"
        return Stability("undefined", made, evidence=evidence)
    best_epoch, best = max(known, key=lambda pair: pair[1])
    summit = best if course.start is None else max(best, course.start)
    if floor is not None and summit <= floor.value:
        return _no_learning(best, floor, evidence)
    noise = evidence["noise"]
    collapse = _fall(course, noise) or _sunken_tail(known, best_epoch, best, noise)
    if collapse is not None:
        return Stability("collapsed", *collapse, evidence=evidence)
    if floor is not None and best <= floor.value:
        return _no_learning(best, floor, evidence)
    if course.start is not None and best <= course.start:
        return Stability(
            "no gain",
            f"the best validation, {best:.3f} after epoch {best_epoch}, is not above the start, "
            f"{course.start:.3f}",
            evidence=evidence,
        )
    reason = f"best {best:.3f} after epoch {best_epoch}"
    return Stability("stable", reason, _overfitting(known, best_epoch, best), evidence)


def _evidence(course: Course, floor: Floor | None) -> dict[str, Any]:
    """What was judged, and by which thresholds; plain data."""
    return {
        "epochs": [epoch for epoch, _ in course.known],
        "values": [value for _, value in course.known],
        "start": course.start,
        "epochs_run": course.epochs_run,
        "noise": _noise(course),
        "floor": None if floor is None else {"value": floor.value, "name": floor.name},
        "thresholds": thresholds().model_dump(exclude={"source"}),
    }


def _no_learning(best: float, floor: Floor, evidence: dict[str, Any]) -> Stability:
    return Stability(
        "no learning",
        f"the best validation, {best:.3f}, is not above {floor.name}, {floor.value:.3f}",
        evidence=evidence,
    )


def _noise(course: Course) -> float:
    """Standard deviation of a validation, from the differences of successive ones.

    By their upper quartile: a median would be too small where noise is cut off at 0. A trend or a
    fall makes the differences larger, which must not excuse a collapse, so there is a bound.
    """
    values = [value for _, value in course.known]
    if course.start is not None:
        values.insert(0, course.start)
    if len(values) < 2:
        return 0.0
    upper = float(np.quantile(np.abs(np.diff(values)), 0.75))
    return min(thresholds().most_noise, upper / _UPPER_QUARTILE)


def _quantile(looks: int) -> float:
    """Normal quantile of the false-alarm rate, shared by so many looks (Bonferroni)."""
    return NormalDist().inv_cdf(1 - thresholds().false_alarm / max(1, looks))


def _fall(course: Course, noise: float) -> tuple[str, str | None] | None:
    """The first validation far below the best so far or the start, and whether a later one
    regained what the last fall had lost."""
    limits = thresholds()
    known = course.known
    run = course.epochs_run or known[-1][0]
    # Any two validations may be the highest and the lowest that noise makes.
    looks = (len(known) + 1) * len(known) // 2
    explained = math.sqrt(2) * noise * _quantile(looks)
    height, where = (-math.inf, "")
    if course.start is not None:
        height, where = course.start, "before training"
    first: str | None = None
    lost, last = 0.0, -1
    for index, (epoch, value) in enumerate(known):
        fell = value < limits.fall * height and height - value > explained
        if epoch > limits.after * run and fell:
            first = first or (
                f"validation fell to {value:.3f} after epoch {epoch}; it had been {height:.3f} "
                f"{where}"
            )
            lost, last = height, index
        if value > height:
            height, where = value, f"after epoch {epoch}"
    if first is None:
        return None
    regained = [pair for pair in known[last + 1 :] if pair[1] >= limits.recovered * lost]
    if not regained:
        return first, None
    epoch, value = regained[0]
    return first, f"it recovered to {value:.3f} after epoch {epoch}"


def _sunken_tail(
    known: Sequence[tuple[int, float]], best_epoch: int, best: float, noise: float
) -> tuple[str, str | None] | None:
    """The validations since the best lie far below it."""
    limits = thresholds()
    since = [value for epoch, value in known if epoch > best_epoch]
    if len(since) < limits.tail_validations or median(since) >= limits.tail * best:
        return None
    # The variance of a median of n is pi / 2 times that of a mean.
    error = noise * math.sqrt(1 + math.pi / 2 / len(since))
    if best - median(since) <= error * _quantile(len(known)):
        return None
    return (
        f"the {len(since)} validations since the best, {best:.3f} after epoch {best_epoch}, have "
        f"median {median(since):.3f}",
        None,
    )


def _overfitting(known: Sequence[tuple[int, float]], best_epoch: int, best: float) -> str | None:
    limits = thresholds()
    since = [value for epoch, value in known if epoch > best_epoch]
    if len(since) < limits.decline_validations or since[-1] >= limits.decline * best:
        return None
    return f"overfitting after epoch {best_epoch}"


def _spike(course: Course) -> str | None:
    """A gradient norm far above its running median, and two epochs of risen loss after it."""
    limits = thresholds()
    losses = [math.nan if value is None else value for value in course.losses]
    norms = [math.nan if value is None else value for value in course.gradient_norms]
    for epoch in range(1, min(len(norms), len(losses) - 2)):
        usual, before = median(norms[:epoch]), losses[epoch - 1]
        rose = before > 0 and min(losses[epoch + 1 : epoch + 3]) >= limits.loss_rise * before
        if usual > 0 and norms[epoch] > limits.spike * usual and rose:
            return (
                f"the gradient norm spiked to {norms[epoch]:.3g} in epoch {epoch + 1} and the loss "
                f"was {limits.loss_rise:g} times as high in the two epochs after it"
            )
    return None
