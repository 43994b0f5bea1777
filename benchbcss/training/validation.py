"""How much is validated while training, and how often: within a share of a training's compute.

Cost is counted in forward passes of the network and never by the clock, so that a run and its
continuation do the same. Where the whole set fits as often as the recipe asks, nothing is left out.
Otherwise as much of it is validated as fits some twenty times, and at the end of training the best
few checkpoints are validated on the whole set. Neither torch nor numpy is imported.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchbcss.recipes import Train
from benchbcss.training.schedule import ENDLESS, Plan

#: of a sample that is trained on. Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1: a
#: backward pass takes about twice the compute of a forward pass
PASSES_PER_SAMPLE = 3
#: ROIs that are validated at least, where there are as many. Our choice
FEWEST_ROIS = 6
#: validations that a part of the set is chosen for, and how few there may be before fewer
#: checkpoints are validated on the whole set, where the recipe asks for as many. METHODOLOGY has
#: what the rules for stability find and miss at 20 validations and at 8
USUAL, FEWEST = 20, 8


@dataclass(frozen=True)
class Schedule:
    """``rois`` of the ``of`` validation ROIs are validated before training, every ``every`` epochs
    and at its end; the ``best`` checkpoints by them on all of them, none where they are all.

    ``passes`` of one validation, ``whole`` of one of the whole set. ``share``: of all passes of the
    planned training, those of validation; of an epoch's passes where a clock ends training.
    ``allowed``: by the recipe.
    """

    rois: tuple[str, ...]
    of: int
    every: int
    best: int
    passes: int
    whole: int
    share: float
    allowed: float

    def sentence(self) -> str:
        """Such as: 6 of 24 ROIs every 4 epochs while training (23 % of compute), all of them for
        the best 3."""
        which = f"{len(self.rois)} of {self.of} ROIs" if self.best else _all(self.of)
        every = "every epoch" if self.every == 1 else f"every {self.every} epochs"
        excess = "; training is too short for less" if self.share > self.allowed else ""
        text = f"{which} {every} while training ({100 * self.share:.2g} % of compute{excess})"
        if self.best:
            text += f", all of them for the best {self.best if self.best > 1 else 'checkpoint'}"
        return text

    def spent(self, samples: int, validations: int, finals: int) -> dict[str, int]:
        """Forward passes of training on so many samples, and of so many validations and others of
        the whole set."""
        return {
            "training": PASSES_PER_SAMPLE * samples,
            "validation": self.passes * validations + self.whole * finals,
        }


def _all(rois: int) -> str:
    return "the only ROI" if rois == 1 else f"all {rois} ROIs"


def schedule(
    train: Train,
    plan: Plan,
    passes: Mapping[str, int],
    order: Sequence[str],
    covering: int = 0,
) -> Schedule:
    """How ROIs that take so many ``passes`` each are validated in a training of ``plan``.

    A part of them is the beginning of ``order`` (see ``ordered``), of which the first ``covering``
    have every class. A period that leaves at least
    ``USUAL`` validations is preferred, then more checkpoints for the whole set, then more ROIs.
    Where training is too short for the share, the least is done: the fewest ROIs at the start and
    at the end, and one checkpoint on the whole set.
    """
    costs = _Costs(train, plan)
    whole, fewest = sum(passes.values()), min(max(FEWEST_ROIS, covering), len(order))

    def made(rois: Sequence[str], period: int, best: int) -> Schedule:
        chosen = set(rois)
        cost = sum(passes[name] for name in chosen)
        return Schedule(
            rois=tuple(name for name in passes if name in chosen),
            of=len(passes),
            every=period,
            best=best,
            passes=cost,
            whole=whole,
            share=costs.share(period, cost, best * whole),
            allowed=train.validation.share,
        )

    if costs.fit(train.validate_every, whole):
        return made(order, train.validate_every, 0)
    totals = list(itertools.accumulate(passes[name] for name in order))
    for best, period in costs.choices(totals[fewest - 1]):
        if costs.fit(period, whole):
            return made(order, period, 0)
        fitting = [
            number
            for number in range(fewest, len(order))
            if costs.fit(period, totals[number - 1], best * whole)
        ]
        if fitting:
            return made(order[: fitting[-1]], period, best)
    return made(order[:fewest], plan.epochs, 0 if fewest == len(order) else 1)


@dataclass(frozen=True)
class _Costs:
    """In forward passes: of the whole training, or of one epoch where a clock ends it."""

    train: Train
    plan: Plan

    def share(self, period: int, passes: int, at_end: int = 0) -> float:
        """Of all passes, those of validations of ``passes`` each and of what follows ``at_end``."""
        plan = self.plan
        per_step = PASSES_PER_SAMPLE * plan.batch_size * plan.accumulate
        if plan.seconds is not None:
            validation = passes / period
            return validation / (validation + per_step * plan.steps_per_epoch)
        validation = passes * (1 + self._validations(period)) + at_end
        return validation / (validation + per_step * plan.steps)

    def fit(self, period: int, passes: int, at_end: int = 0) -> bool:
        return self.share(period, passes, at_end) <= self.train.validation.share

    def choices(self, fewest: int) -> Iterator[tuple[int, int]]:
        """(checkpoints for the whole set, epochs between validations), the preferred first.
        ``fewest``: passes of the smallest validation."""
        most, unit = self.train.validation.best, self.train.validate_every
        if self.plan.seconds is not None:
            first = min(self._rarest(fewest), ENDLESS + 1)  # none before it fits
            first = max(unit, int(first) // unit * unit)
            yield from ((most, period) for period in range(first, ENDLESS + 1, unit))
            return
        asked = self._validations(unit)
        periods = [unit * number for number in range(1, asked + 1)]
        usual = [p for p in periods if self._validations(p) >= min(asked, USUAL)][-1]
        few = [p for p in periods if self._validations(p) >= min(asked, FEWEST)][-1]
        for best in range(most, 0, -1):
            yield from ((best, p) for p in periods if usual <= p <= few)
        yield from ((1, p) for p in periods if p > few)

    def _rarest(self, passes: int) -> float:
        """Epochs between validations of ``passes`` that their share of an epoch asks for."""
        share = self.train.validation.share
        epoch = PASSES_PER_SAMPLE * self.plan.batch_size * self.plan.accumulate
        return passes * (1 / share - 1) / (epoch * self.plan.steps_per_epoch)

    def _validations(self, period: int) -> int:
        """After the one of the start: the end of training is always validated."""
        return math.ceil(self.plan.epochs / period)


def ordered(
    classes: Mapping[str, frozenset[str]], institutes: Mapping[str, str], seed: int
) -> list[str]:
    """The ROIs in an order of which every beginning is a fair part, the same for a ``seed``.

    In rounds, each of which meets every class (of ``classes`` {ROI: those it has}) once more, the
    rarest first: a random ROI among those that have it whose institute has had the fewest so far.
    """
    left = sorted(classes)
    random.Random(seed).shuffle(left)
    frequency = Counter(name for present in classes.values() for name in present)
    rarest = sorted(frequency, key=lambda name: (frequency[name], name))
    chosen: list[str] = []
    visits: Counter[str] = Counter()
    while any(classes[roi] for roi in left):
        met: set[str] = set()
        for wanted in rarest:
            having = [roi for roi in left if wanted in classes[roi]]
            if wanted in met or not having:
                continue
            roi = min(having, key=lambda name: visits[institutes[name]])
            left.remove(roi)
            chosen.append(roi)
            met |= classes[roi]
            visits[institutes[roi]] += 1
    return chosen + left


def covering(order: Sequence[str], classes: Mapping[str, frozenset[str]]) -> int:
    """How many ROIs from the beginning of ``order`` have every class that any of them has."""
    missing = set().union(*classes.values())
    for number, name in enumerate(order):
        if not missing:
            return number
        missing -= classes[name]
    return len(order)
