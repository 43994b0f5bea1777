"""Memory of tiled inference beside MONAI's: bytes that a process needs above what it had before.

Each is measured in a process of its own, since what a process once had it keeps.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from benchmarks.speed.timing import OURS

PEERS = (OURS, "MONAI")
WIDTH = 8  # channels of the network


def measured(sides: tuple[int, ...] = (2048, 4096)) -> dict[str, dict[str, Any]]:
    """By image: bytes of each contestant, and how many times ours its peer needs."""
    table: dict[str, dict[str, Any]] = {}
    for side in sides:
        needed = {name: _in_a_process(name, side) for name in PEERS}
        ratio = needed["MONAI"] / max(needed[OURS], 1)
        table[f"tiled inference, {side} px, {WIDTH} channels"] = {"bytes": needed, "ratio": ratio}
    return table


def _in_a_process(name: str, side: int) -> int:
    command = [sys.executable, "-m", "benchmarks.speed.memory", name, str(side)]
    # Settings of the allocator would decide what is kept of what was freed.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    return int(done.stdout)


def _needed(name: str, side: int) -> int:
    """Bytes of this process's highest mark while it predicts an image, above that before it: a
    small image has been predicted by then, so that code and buffers are there."""
    import resource

    from benchmarks.speed.inferring import tiled

    tiled(320, WIDTH).contestants[name]()
    work = tiled(side, WIDTH).contestants[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


if __name__ == "__main__":
    print(_needed(sys.argv[1], int(sys.argv[2])))
