"""Resampled means and the comparison of backends: SciPy and statsmodels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from benchbcss.scoring.bootstrap import DRAWS, draws_of, resample_weights
from benchbcss.scoring.compare import Entry, compare
from benchbcss.scoring.metrics import Triple, dice_of
from benchmarks.speed.timing import OURS, Case

ROIS, CLASSES = 45, 5


def entries(backends: int) -> list[Entry]:
    """Made-up counts of backends that were scored on the same 45 ROIs."""
    rng = np.random.default_rng(0)
    true = rng.integers(10_000, 1_000_000, (ROIS, CLASSES))
    made = []
    for number in range(backends):
        hit = (true * rng.beta(6, 3, true.shape)).astype(np.int64)
        extra = (true * rng.beta(2, 6, true.shape)).astype(np.int64)
        made.append(Entry(f"backend {number}", (Triple(hit, true, hit + extra),)))
    return made


def resampling() -> Case:
    """Draws are made anew each time, as SciPy does for each class; a comparison makes them once."""
    from scipy.stats import bootstrap

    (entry,) = entries(1)
    triple = entry.triples[0]

    def dice(hit: np.ndarray, area: np.ndarray, axis: int = -1) -> np.ndarray:
        return 2 * hit.sum(axis) / area.sum(axis)

    def ours() -> np.ndarray:
        resample_weights.cache_clear()
        return np.quantile(draws_of(triple, "pooled"), [0.025, 0.975], axis=0).T

    def scipy() -> np.ndarray:
        rows = []
        for label in range(CLASSES):
            hit, area = triple.hit[:, label], triple.true[:, label] + triple.predicted[:, label]
            drawn = bootstrap(
                (hit, area),
                dice,
                n_resamples=DRAWS,
                method="percentile",
                paired=True,
                vectorized=True,
                rng=np.random.default_rng(label),
            )
            rows.append(drawn.confidence_interval)
        return np.array(rows)

    def check(answers: Mapping[str, Any]) -> None:
        width = np.ptp(answers["SciPy"], axis=1).min()  # both are random
        np.testing.assert_allclose(answers[OURS], answers["SciPy"], atol=0.1 * width)

    return Case("resampled pooled Dice, 45 ROIs", {OURS: ours, "SciPy": scipy}, check)


def comparison(backends: int) -> Case:
    """Ours tests each pair by influences with their own degrees of freedom, and adds ranks with
    intervals; the peers' plain paired t is another test, so that only Holm's step is checked."""
    from scipy.stats import ttest_rel
    from statsmodels.stats.multitest import multipletests

    made = entries(backends)
    dice = np.stack([dice_of(entry.triples[0]) for entry in made])
    scores = np.concatenate([dice, dice.mean(2, keepdims=True)], 2)

    def plain() -> np.ndarray:
        pairs = combinations(range(backends), 2)
        tests = [ttest_rel(scores[a], scores[b]) for a, b in pairs]
        for one in tests:
            one.confidence_interval()
        p_values: np.ndarray = multipletests([one.pvalue[-1] for one in tests], method="holm")[1]
        return p_values

    def check(answers: Mapping[str, Any]) -> None:
        pairs = answers[OURS].pairs
        theirs = multipletests([pair.mean.p for pair in pairs], method="holm")[1]
        np.testing.assert_allclose([pair.p_holm for pair in pairs], theirs)

    return Case(
        f"comparison of {backends} backends",
        {
            OURS: lambda: compare(made, range(CLASSES), "per_roi"),
            "SciPy and statsmodels (plain t)": plain,
        },
        check,
    )


def cases() -> Iterator[Case]:
    yield resampling()
    for backends in (8, 32):
        yield comparison(backends)
