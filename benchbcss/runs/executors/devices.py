"""Which GPUs a worker on this machine may see, so that workers side by side do not share one."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Mapping

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 20.0  # that nvidia-smi may take: on some machines it wakes the driver first


def visible(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names of the GPUs that a process started here would see, in CUDA's order; without torch,
    whose import takes seconds. Empty where there is none, or where it cannot be told."""
    given = environment.get(VISIBLE)
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        # CUDA stops at the first name that is no device, such as -1.
        end = next((i for i, n in enumerate(names) if not n or n.startswith("-")), len(names))
        return names[:end]
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = (line.strip() for line in listing.stdout.splitlines())
    return [line for line in lines if line.startswith("GPU-")]


class Devices:
    """Shares GPUs out among workers: each gets as many as it has processes, those with the fewest
    workers first. With fewer than two there is nothing to share out."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._workers: Counter[str] = Counter()

    def take(self, number: int) -> tuple[str, ...]:
        """The names for a worker of ``number`` processes; () where it may see all there are."""
        if len(self._names) < 2 or number >= len(self._names):
            return ()
        chosen = sorted(self._names, key=lambda name: self._workers[name])[:number]
        self._workers.update(chosen)
        return tuple(sorted(chosen, key=self._names.index))

    def give_back(self, names: tuple[str, ...]) -> None:
        self._workers.subtract(names)
