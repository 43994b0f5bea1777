"""Cases, and the alternating turns in which their contestants are timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

OURS = "benchbcss"

Work = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """``contestants`` by name, ``OURS`` among them; ``check`` raises AssertionError where their
    answers differ. With ``total`` the peers do one part each, and their sum is a peer of that name.
    """

    name: str
    contestants: Mapping[str, Work]
    check: Callable[[Mapping[str, Any]], None]
    total: str | None = None


@dataclass
class Timed:
    """``seconds`` of each contestant, one per turn, and ``busy``: those of all its threads on a
    core, which hardly depend on what else the machine does."""

    name: str
    seconds: dict[str, list[float]]
    busy: dict[str, list[float]]
    total: str | None = None

    @property
    def ratios(self) -> dict[str, list[float]]:
        """How many times as long as ours each peer takes, turn by turn."""
        return self._over_ours(self.seconds)

    @property
    def busy_ratios(self) -> dict[str, list[float]]:
        """The same of time on cores."""
        return self._over_ours(self.busy)

    def _over_ours(self, seconds: Mapping[str, list[float]]) -> dict[str, list[float]]:
        ours = seconds[OURS]
        peers = {name: times for name, times in seconds.items() if name != OURS}
        if self.total is not None:
            peers[self.total] = [sum(turn) for turn in zip(*peers.values(), strict=True)]
        return {
            name: [theirs / mine for theirs, mine in zip(times, ours, strict=True)]
            for name, times in peers.items()
        }

    def plain(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        return {
            "case": self.name,
            "seconds": self.seconds,
            "busy_seconds": self.busy,
            "ratios": _spreads(self.ratios),
            "busy_ratios": _spreads(self.busy_ratios),
        }


def _spreads(ratios: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"median": median(values), "lowest": min(values), "highest": max(values)}
        for name, values in ratios.items()
    }


def _busy() -> float:
    """Seconds that this process, its threads and the processes it waited for were on a core."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def timed(case: Case, turns: int) -> Timed:
    """Answers first, which warms every contestant up; then ``turns``, each in another order."""
    case.check({name: work() for name, work in case.contestants.items()})
    names = list(case.contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun, busy_before = time.perf_counter(), _busy()
            case.contestants[name]()
            busy[name].append(max(_busy() - busy_before, 1e-9))
            seconds[name].append(max(time.perf_counter() - begun, 1e-9))
    return Timed(case.name, seconds, busy, case.total)
