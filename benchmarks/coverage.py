"""How often a 95 % interval holds the truth, by simulation.

    python benchmarks/coverage.py [SIMULATIONS]

Each simulated data set has 45 ROIs whose class areas are lognormal (sigma 1.0, 1.3, 1.6) and whose
Dice varies by ROI; the truth is the value over a million ROIs. Coverage is how often the
percentile interval (and BCa) of the data set holds it.
"""

from __future__ import annotations

import sys

import numpy as np

from benchbcss.scoring.bootstrap import bootstrap, effective_rois
from benchbcss.scoring.metrics import Triple

ROIS = 45
SIGMAS = (1.0, 1.3, 1.6)


def draw(rois: int, sigma: float, rng: np.random.Generator) -> Triple:
    """One class: areas, the share found of each (larger areas are easier), and what is found."""
    area = np.exp(rng.normal(10, sigma, rois))
    skill = rng.beta(4, 3, rois) * (0.8 + 0.2 * (area / (area + np.exp(10))))
    true = np.maximum(1, np.round(area)).astype(np.int64)
    hit = np.round(true * skill).astype(np.int64)
    predicted = np.round(true * rng.uniform(0.7, 1.3, rois)).astype(np.int64)
    predicted = np.maximum(predicted, hit)
    return Triple(hit[:, None], true[:, None], predicted[:, None])


def truth(sigma: float, estimand: str) -> float:
    triple = draw(1_000_000, sigma, np.random.default_rng(1))
    dice = 2 * triple.hit / (triple.true + triple.predicted)
    if estimand == "per_roi":
        return float(dice.mean())
    return float(2 * triple.hit.sum() / (triple.true.sum() + triple.predicted.sum()))


def coverage(sigma: float, estimand: str, simulations: int) -> dict[str, float]:
    """Shares of simulations whose interval holds the truth, and the mean effective ROIs."""
    wanted = truth(sigma, estimand)
    rng = np.random.default_rng(2)
    plain = corrected = 0
    effective = 0.0
    for _ in range(simulations):
        triple = draw(ROIS, sigma, rng)
        found = bootstrap(triple, [0], estimand)
        low, high = found.mean or (np.nan, np.nan)
        plain += low <= wanted <= high
        low, high = found.mean_bca or (np.nan, np.nan)
        corrected += low <= wanted <= high
        effective += effective_rois(triple.true[:, 0])
    return {
        "percentile": plain / simulations,
        "bca": corrected / simulations,
        "effective_rois": effective / simulations,
    }


if __name__ == "__main__":
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{simulations} simulations of {ROIS} ROIs, 10 000 resamples each")
    print("sigma  estimand  percentile  BCa    effective ROIs")
    for sigma in SIGMAS:
        for estimand in ("per_roi", "pooled"):
            row = coverage(sigma, estimand, simulations)
            print(
                f"{sigma:<6} {estimand:<9} {row['percentile']:<11.3f} {row['bca']:<6.3f} "
                f"{row['effective_rois']:.1f}"
            )
