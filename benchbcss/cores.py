"""How many cores this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """By affinity, by the quota of its container (both read by joblib), and by Slurm's
    ``SLURM_CPUS_PER_TASK``; 1 or more."""
    import joblib  # a fifth of a second, which commands that count nothing need not wait for

    allowed = int(joblib.cpu_count())
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(allowed, int(asked)) if asked.isdecimal() and int(asked) else allowed)
