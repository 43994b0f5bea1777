"""What ``benchbcss doctor`` looks at: is this machine, and what is on it, fit to run?

Each examination yields findings. One that is itself at a loss is a problem of its own and stops no
other. torch is imported here and only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchbcss.errors import BenchError
from benchbcss.runs.launch import OnData

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was found about ``topic``. A note is worth knowing and stops nothing; a problem stops
    runs. ``remedy`` says what to do."""

    topic: str
    state: State
    text: str
    remedy: str = ""

    def plain(self) -> dict[str, str]:
        """As ``doctor --json`` writes it."""
        return dict(vars(self))


@dataclass(frozen=True)
class Asked:
    """What to look at: the workspace, and data and weights where they are given."""

    on: OnData
    weights: tuple[str, ...] = field(default=())


def examine(asked: Asked) -> Iterator[Finding]:
    """Every finding, as it is made."""
    from benchbcss.upkeep import belongings, machine, software

    examinations: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("python", software.python),
        ("packages", software.packages),
        ("plugins", software.plugins),
        ("devices", machine.devices),
        ("memory", machine.memory),
        ("workspace", lambda: machine.workspace(asked.on.workspace)),
        ("weights", lambda: belongings.weights(asked)),
        ("data", lambda: belongings.data(asked.on)),
        ("executors", software.executors),
    ]
    for topic, look in examinations:
        try:
            yield from look()
        except BenchError as error:
            yield Finding(topic, "problem", str(error))
        except Exception as error:
            text = f"it cannot be examined: {type(error).__name__}: {error}"
            yield Finding(topic, "problem", text, "Report this with the output of doctor --json.")


def nearest(path: Path) -> Path:
    """The nearest folder at or above ``path`` that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
