"""``python -m benchmarks.speed [NAME...]``: time this harness against its peers.

Prints a table of ratios (median and range over the turns) and, with --json, writes all times. Peers
are the extra ``bench``. A peer that is missing leaves its cases out, by name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from importlib import import_module, metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.timing import Case, Timed, timed

GROUPS: dict[str, tuple[str, dict[str, Any]]] = {
    "counts": ("counts", {}),
    "scoring": ("scoring", {}),
    "scoring-90": ("scoring", {"megapixels": 90}),
    "comparing": ("comparing", {}),
    "pictures": ("pictures", {}),
    "inferring": ("inferring", {}),
    "training": ("training", {}),
    "commands": ("commands", {}),
}
GROWTH, MEMORY = "growth", "memory"
APART = (GROWTH, MEMORY)  # that are not contests in turns
USUAL = [name for name in (*GROUPS, *APART) if name != "scoring-90"]
VERSIONS = ("benchbcss", "numpy", "scipy", "opencv-python-headless", "pillow", "torch")
PEERS = ("torchmetrics", "monai", "scikit-learn", "statsmodels", "torchvision")


def machine() -> dict[str, Any]:
    versions = {}
    for name in (*VERSIONS, *PEERS):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor()


def _times(ratio: float) -> str:
    """Two digits at least of what is below 1: a peer may do much less."""
    return f"{ratio:10.1f}" if ratio >= 1 else f"{ratio:10.2g}"


def shown(one: Timed) -> str:
    lines = [one.name]
    for name in one.seconds:
        lines.append(f"    {median(one.seconds[name]) * 1000:10.1f} ms  {name}")
    for name, ratios in one.ratios.items():
        busy = median(one.busy_ratios[name])
        lines.append(
            f"    {_times(median(ratios))} x   {name} ({_times(min(ratios)).strip()} to "
            f"{_times(max(ratios)).strip()}; on cores {_times(busy).strip()})"
        )
    return "\n".join(lines)


def run(names: Iterable[str], turns: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Everything that was measured, as data that JSON can hold."""
    found: dict[str, Any] = {"machine": machine(), "turns": turns, "cases": [], "left_out": {}}
    for name in names:
        if name == GROWTH:
            growth = import_module("benchmarks.speed.growth").measured(turns)
            found[GROWTH] = growth
            for what, part in growth.items():
                sizes = ", ".join(f"{s:g}: {t * 1000:.0f} ms" for s, t in part["seconds"].items())
                say(f"growth of {what}: exponent {part['exponent']:.2f} ({sizes})")
            continue
        if name == MEMORY:
            found[MEMORY] = memory = import_module("benchmarks.speed.memory").measured()
            for what, part in memory.items():
                sizes = ", ".join(f"{who}: {n / 2**20:.0f} MiB" for who, n in part["bytes"].items())
                say(f"memory of {what}: {part['ratio']:.1f} x ({sizes})")
            continue
        module, settings = GROUPS[name]
        try:
            cases: Iterable[Case] = import_module(f"benchmarks.speed.{module}").cases(**settings)
            for case in cases:
                one = timed(case, turns)
                found["cases"].append(one.plain())
                say(shown(one))
        except ImportError as error:
            found["left_out"][name] = str(error)
            say(f"{name} is left out: {error}. Install the extra 'bench'.")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join((*GROUPS, *APART))}"
    )
    parser.add_argument("--turns", type=int, default=3, help="turns of each case (default 3)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in (*GROUPS, *APART)]
    if unknown:
        parser.error(f"There is no case '{unknown[0]}'; there are {', '.join((*GROUPS, *APART))}.")
    if options.turns < 1:
        parser.error("--turns is at least 1.")
    found = run(options.names or USUAL, options.turns)
    parts = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in parts["versions"].items())
    print(f"{parts['processor']}, {parts['cores']} cores, load {parts['load']:.1f}; {versions}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
