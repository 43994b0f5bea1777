"""How often is a training called unstable that is not, and a collapse missed? By simulation.

    python benchmarks/stability_families.py [--simulations N] [--seed N] [--write]

Families of validation curves, with normal noise, are judged by the rule that judges real runs.
Prints Markdown tables; ``--write`` puts them into METHODOLOGY.md. One core, about a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchbcss.training.stability import Course, judge

METHODOLOGY = Path(__file__).resolve().parent.parent / "METHODOLOGY.md"
MARKERS = ("<!-- stability: begin (generated) -->", "<!-- stability: end -->")
SIMULATIONS = 200
VALIDATIONS = (8, 20, 40, 160)
NOISE = 0.06
CONSTANTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # time constants, as a share of training
CEILINGS = (0.2, 0.35, 0.5, 0.7, 0.85)
LEVELS = (0.3, 0.5, 0.7)
Row = list[str]


def collapsed(clean: np.ndarray, noise: float, simulations: int, seed: int) -> float:
    """The share of noisy copies of ``clean`` [validation] (the first is the start) called
    collapsed."""
    rng = np.random.default_rng(seed)
    count = 0
    for _ in range(simulations):
        values = (clean + noise * rng.standard_normal(len(clean))).clip(0, 1).tolist()
        course = Course(range(1, len(clean)), values[1:], start=values[0])
        count += judge(course).status == "collapsed"
    return count / simulations


def saturating(validations: int, constant: float, ceiling: float) -> np.ndarray:
    """[validations + 1]: from 0 towards ``ceiling``."""
    times = np.arange(validations + 1) / validations
    rise: np.ndarray = ceiling * (1 - np.exp(-times / constant))
    return rise


def lost(clean: np.ndarray) -> np.ndarray:
    """Falls to nothing after 60 % of training, for good."""
    after = np.arange(len(clean)) > 0.6 * len(clean)
    return np.where(after, 0.02, clean)


def dip(clean: np.ndarray) -> np.ndarray:
    """One validation at nothing after 60 % of training, then as before."""
    values = clean.copy()
    values[int(0.6 * len(clean))] = 0.02
    return values


def sunken(clean: np.ndarray) -> np.ndarray:
    """Falls to four tenths of its level after 60 % of training, for good."""
    after = np.arange(len(clean)) > 0.6 * len(clean)
    return np.where(after, 0.4 * clean, clean)


COLLAPSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "falls to 0.02 for good": lost,
    "falls to 0.02 once": dip,
    "falls to 0.4 of its level for good": sunken,
}


def false_alarms(simulations: int, seed: int) -> list[Row]:
    """Per ceiling and number of validations: the most of any time constant, %."""

    def worst(ceiling: float, validations: int) -> float:
        curves = (saturating(validations, constant, ceiling) for constant in CONSTANTS)
        return max(collapsed(curve, NOISE, simulations, seed) for curve in curves)

    return [
        [f"{ceiling:g}", *(f"{100 * worst(ceiling, count):.1f}" for count in VALIDATIONS)]
        for ceiling in CEILINGS
    ]


def detections(simulations: int, seed: int) -> list[Row]:
    """Per kind of collapse, level before it and noise: called collapsed, %."""
    return [
        [name, f"{level:g}", f"{noise:g}"]
        + [
            f"{100 * collapsed(fall(saturating(count, 0.1, level)), noise, simulations, seed):.0f}"
            for count in VALIDATIONS
        ]
        for name, fall in COLLAPSES.items()
        for level in LEVELS
        for noise in (0.02, NOISE)
    ]


def tables(simulations: int, seed: int) -> str:
    """Both tables in Markdown."""
    counts = [f"{count}" for count in VALIDATIONS]
    parts = []
    for title, head, rows in (
        (
            f"**Called collapsed without a collapse, %** (noise {NOISE:g}, the worst of the time "
            f"constants {', '.join(f'{c:g}' for c in CONSTANTS)} of training; {simulations} curves "
            "of each)",
            ["level approached", *(f"{c} validations" for c in counts)],
            false_alarms(simulations, seed),
        ),
        (
            f"**Collapses found, %** ({simulations} curves of each)",
            ["collapse", "level before", "noise", *(f"{c} validations" for c in counts)],
            detections(simulations, seed),
        ),
    ):
        lines = [title, "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        parts.append("\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write what was measured")
    options = parser.parse_args()
    text = tables(options.simulations, options.seed)
    print(text)
    if options.write:
        before, rest = METHODOLOGY.read_text(encoding="utf-8").split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        page = f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}"
        METHODOLOGY.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
