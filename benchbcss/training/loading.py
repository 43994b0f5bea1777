"""How many processes read training samples."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchbcss.cores import cores, here

#: more were never busy: our choice
MOST = 8
#: batches that each process keeps ready (PyTorch's default), and the one that it is making
AHEAD = 3
SHARED_MEMORY = Path("/dev/shm")


def workers(asked: int | None, device: str, processes: int, batch: int) -> tuple[int, str]:
    """How many processes read samples for each of ``processes`` that train on ``device``, and what
    the user should know about that ('' for nothing).

    ``asked`` wins where it is not None. Without a GPU there are none: the cores are busy training.
    With one there are as many as cores, less one for training, up to 8 and up to what shared memory
    holds of batches of ``batch`` bytes.
    """
    wanted = asked
    if wanted is None:
        wanted = min(MOST, cores(processes) - 1) if device == "cuda" else 0
    wanted = max(0, wanted)
    free = _shared_memory()
    if free is None:
        return wanted, ""
    needed = batch * AHEAD * here(processes)  # by one process that reads, for each that trains
    fit = int(free // max(1, needed))
    if fit >= wanted:
        return wanted, ""
    if asked is not None:
        return asked, (
            f"{asked} loading processes may need {needed * asked / 1e6:.0f} MB of shared "
            f"memory, and {free / 1e6:.0f} MB are free: choose fewer with --workers, or give the "
            f"container more (docker run --shm-size=8g)"
        )
    return fit, (
        f"{fit} loading processes instead of {wanted}: {SHARED_MEMORY} has {free / 1e6:.0f} MB "
        f"free; give the container more (docker run --shm-size=8g) for faster training"
    )


def _shared_memory() -> float | None:
    """Free bytes; None where there is no such place."""
    try:
        return float(shutil.disk_usage(SHARED_MEMORY).free)
    except OSError:
        return None
