"""How many cores this process may use."""

from __future__ import annotations

import os


def cores(processes: int = 1) -> int:
    """That each of ``processes`` may use, 1 or more: by affinity, by the quota of its container
    (both read by joblib), and by Slurm, which gives each task cores of its own."""
    import joblib  # a fifth of a second, which commands that count nothing need not wait for

    allowed = int(joblib.cpu_count())
    if asked := _whole("SLURM_CPUS_PER_TASK"):
        allowed = min(allowed, asked)
        if _whole("SLURM_NTASKS") == processes:
            return max(1, allowed)
    return max(1, allowed // here(processes))


def here(processes: int) -> int:
    """How many of ``processes`` are on this machine: torchrun and Slurm's jobs say so."""
    return min(processes, _whole("LOCAL_WORLD_SIZE") or processes)


def _whole(variable: str) -> int:
    """A number in the environment; 0 without one."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0
