"""A worker's heartbeat, ``status.json``: what it is doing, how far it is, how long that will take.

Read tolerantly: it may be of another version, torn, or written by a stranger's executor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchbcss.progress import Count

_MOST = 1e15  # more than any count or time here; NaN is not less either


@dataclass(frozen=True)
class Heartbeat:
    """``done`` of ``total`` units of the stage at ``rate`` per second, ``left`` seconds to its end;
    ``part`` is what goes on within it, such as 'validating 3/8 ROIs'."""

    stage: str
    done: int | None = None
    total: int | None = None
    unit: str = ""
    rate: float | None = None
    left: float | None = None
    part: str = ""

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Heartbeat:
        """What ``status`` says; fields that are no numbers are left out."""
        done, total = _number(status.get("done")), _number(status.get("total"))
        return cls(
            str(status.get("stage") or "starting"),
            None if done is None else int(done),
            None if total is None else int(total),
            str(status.get("unit") or ""),
            _number(status.get("rate")),
            _number(status.get("left")),
            str(status.get("part") or ""),
        )

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where the total is not known."""
        if self.done is None or not self.total:
            return None
        return min(1.0, max(0.0, self.done / self.total))

    @property
    def count(self) -> str:
        """'120/300', or '120' of what has no known end; '' without a count."""
        if self.done is None:
            return ""
        return str(self.done) if self.total is None else f"{self.done}/{self.total}"

    @property
    def speed(self) -> str:
        """'3.4 steps/s', or '2.5 s/step' where one takes longer than a second."""
        if not self.rate or not self.unit:
            return ""
        if self.rate >= 1:
            return f"{self.rate:.{0 if self.rate >= 100 else 1}f} {self.unit}s/s"
        return (
            f"{clock(1 / self.rate) if self.rate < 0.01 else f'{1 / self.rate:.1f} s'}/{self.unit}"
        )


def is_there(status: Mapping[str, Any]) -> bool | None:
    """Whether the process that wrote ``status`` is there; None where it was on another machine: its
    number says nothing here."""
    if status.get("host", socket.gethostname()) != socket.gethostname():
        return None
    pid = status.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except (OSError, OverflowError):
        return False
    return True


def beaten(status: Mapping[str, Any]) -> float | None:
    """When ``status`` was written, in seconds since 1970; None where it does not say."""
    time = _number(status.get("time"))
    return None if time is None else float(time)


def plain(counts: list[Count]) -> dict[str, Any]:
    """The fields of ``counts``, the outermost first."""
    if not counts:
        return {}
    outer, inner = counts[0], counts[1:]
    rate, left = outer.rate, outer.left
    content: dict[str, Any] = {
        "done": outer.done,
        "total": outer.total,
        "unit": outer.unit,
        "rate": None if rate is None else round(rate, 4),
        "left": None if left is None else round(left, 1),
    }
    if inner:
        part = inner[-1]
        of = "" if part.total is None else f"/{part.total} {part.unit}s"
        content["part"] = f"{part.doing} {part.done}{of}".strip()
    return content


def clock(seconds: float) -> str:
    """'0:52', '1:02:03', '2 d 3 h'."""
    whole = max(0, round(seconds))
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < _MOST else None
