"""Cases, and the alternating turns in which their contestants are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    """``seconds`` of each contestant, one per turn."""

    name: str
    seconds: dict[str, list[float]]
    total: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, list[float]]:
        """How many times as long as ours each peer takes, turn by turn."""
        ours = self.seconds.get(OURS, [])
        peers = {name: times for name, times in self.seconds.items() if name != OURS}
        if self.total is not None:
            peers[self.total] = [sum(turn) for turn in zip(*peers.values(), strict=True)]
        return {
            name: [theirs / mine for theirs, mine in zip(times, ours, strict=True)]
            for name, times in peers.items()
        }

    def ratio(self, peer: str) -> float:
        return median(self.ratios[peer])

    def plain(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        ratios = {
            name: {"median": median(values), "lowest": min(values), "highest": max(values)}
            for name, values in self.ratios.items()
        }
        return {"case": self.name, "seconds": self.seconds, "ratios": ratios, **self.notes}


def timed(case: Case, turns: int) -> Timed:
    """Answers first, which warms every contestant up; then ``turns``, each in another order."""
    case.check({name: work() for name, work in case.contestants.items()})
    names = list(case.contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun = time.perf_counter()
            case.contestants[name]()
            seconds[name].append(time.perf_counter() - begun)
    return Timed(case.name, seconds, case.total)
