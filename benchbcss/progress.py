"""How far work is, told while it is done: by a worker to its parent, by a command to its user.

What takes long is given a ``Progress`` and counts with it; whoever wants to see the counts passes
one that shows them. This module imports nothing of ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")


class Count:
    """``done`` of ``total`` units, and since when. Called with the number done, in the way of every
    step: it keeps two numbers and does nothing else.

    Its first call says where counting begins: not at 0 where work is continued.
    """

    def __init__(self, total: int | None, unit: str, doing: str = "") -> None:
        self.total, self.unit, self.doing = total, unit, doing
        self.first = self.done = 0
        self.since: float | None = None
        self.until: float | None = None  # by the monotonic clock, where a clock ends it

    def __call__(self, done: int) -> None:
        if self.since is None:
            self.first, self.since = done, time.monotonic()
        self.done = done

    @property
    def rate(self) -> float | None:
        """Units per second since counting began, pauses included; None before the first."""
        if self.since is None or self.done <= self.first:
            return None
        return (self.done - self.first) / max(time.monotonic() - self.since, 1e-6)

    @property
    def left(self) -> float | None:
        """Seconds to the end at that rate, or by the clock that ends it; None if neither says."""
        if self.until is not None:
            return max(0.0, self.until - time.monotonic())
        rate = self.rate
        return None if rate is None or self.total is None else (self.total - self.done) / rate


class Progress:
    """Told what is being done and how far it is; this one keeps it to itself."""

    name = "starting"  # the stage

    def __call__(self, name: str, **detail: Any) -> None:
        """Something else is done from now on; ``detail`` says more."""

    def note(self, text: str) -> None:
        """Something that the user should know, such as where work continues."""

    @contextmanager
    def counting(self, total: int | None, unit: str = "ROI", doing: str = "") -> Iterator[Count]:
        """A count that is shown while it lasts; ``doing`` names it where it is part of a stage. One
        begun within another is shown beside it."""
        yield Count(total, unit, doing)

    def counted(self, items: Sequence[Item], unit: str = "ROI", doing: str = "") -> Iterator[Item]:
        """``items``, counted as they are taken."""
        with self.counting(len(items), unit, doing) as count:
            count(0)
            for number, item in enumerate(items, start=1):
                yield item
                count(number)


SILENT = Progress()
