"""How time grows with the work: the exponent between 1x, 4x and 16x. 1 is linear."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchbcss.contract import ALL_STRATEGIES, SCOPES, Prompting
from benchbcss.inference.prompts import all_prompts
from benchbcss.scoring import pair_counts
from benchbcss.scoring.boundary import surface_counts, without_border
from benchbcss.scoring.compare import compare
from benchbcss.scoring.components import match_objects
from benchmarks.speed.comparing import CLASSES as COMPARED
from benchmarks.speed.comparing import entries
from benchmarks.speed.maps import CLASSES, pair
from benchmarks.speed.scoring import LABELS, MPP, TOLERANCE

EVERY = [Prompting(strategy, scope) for strategy in ALL_STRATEGIES for scope in SCOPES]

#: what is done with (target, prediction)
SCORING: Mapping[str, Callable[..., Any]] = {
    "counts": lambda target, prediction: pair_counts(target, prediction, LABELS),
    "surfaces": lambda *maps: surface_counts(*maps, range(CLASSES), TOLERANCE),
    "band": lambda target, _: without_border(target, TOLERANCE),
    "objects": lambda *maps: match_objects(*maps, range(CLASSES), MPP),
}


def exponent(seconds: Mapping[float, float]) -> float:
    """Slope of log seconds on log size, by least squares."""
    points = [(math.log(size), math.log(time)) for size, time in seconds.items()]
    size_mean, time_mean = (sum(values) / len(points) for values in zip(*points, strict=True))
    top = sum((size - size_mean) * (time - time_mean) for size, time in points)
    return top / sum((size - size_mean) ** 2 for size, _ in points)


def seconds_of(work: Callable[[], Any], turns: int) -> float:
    """The least time on a core, of all threads."""
    times = []
    for _ in range(turns):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return max(min(times), 1e-9)


def measured(
    turns: int,
    megapixels: Sequence[float] = (1, 4, 16),
    backends: Sequence[int] = (4, 8, 16, 32, 64),
) -> dict[str, dict[str, Any]]:
    """By what is done: seconds by size, and the exponent."""
    table: dict[str, dict[float, float]] = {}
    for size in megapixels:
        maps = pair(size)
        for name, work in SCORING.items():
            times = table.setdefault(f"{name}, Mpx", {})
            times[size] = seconds_of(partial(work, *maps), turns)
    for size in megapixels[:2]:
        work = partial(all_prompts, pair(size)[0], range(CLASSES), 1024, EVERY)
        table.setdefault("prompts, Mpx", {})[size] = seconds_of(work, turns)
    for number in backends:
        work = partial(compare, entries(number), range(COMPARED), "per_roi")
        table.setdefault("comparison, backends", {})[number] = seconds_of(work, turns)
    return {
        name: {"seconds": seconds, "exponent": exponent(seconds)} for name, seconds in table.items()
    }
