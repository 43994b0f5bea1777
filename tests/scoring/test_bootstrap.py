import time

import numpy as np
import pytest

from benchbcss.scoring.bootstrap import (
    bootstrap,
    draws_of,
    effective_rois,
    institute_interval,
    resample_weights,
)
from benchbcss.scoring.metrics import Triple, per_roi_of, pooled_of


def tables(rois=12, classes=4, seed=0):
    return np.random.default_rng(seed).integers(1, 200, (rois, classes, classes))


def test_a_draw_equals_scoring_the_resampled_rois():
    counts = tables()
    triple = Triple.of_confusion(counts)
    weights = resample_weights(12)
    for estimand, score in (("pooled", pooled_of), ("per_roi", per_roi_of)):
        drawn = draws_of(triple, estimand)
        for row in (0, 17, 4711):
            again = np.repeat(counts, weights[row].astype(int), axis=0)
            expected = score(Triple.of_confusion(again), range(4)).dice
            assert drawn[row] == pytest.approx(expected)


def test_every_backend_meets_the_same_resamples():
    assert resample_weights(9) is resample_weights(9)
    assert (resample_weights(9).sum(1) == 9).all()


def test_intervals_hold_the_point_estimate():
    triple = Triple.of_confusion(tables())
    for estimand, score in (("pooled", pooled_of), ("per_roi", per_roi_of)):
        point = score(triple, range(4))
        intervals = bootstrap(triple, range(4), estimand)
        for value, bounds in zip(point.dice, intervals.classes, strict=True):
            assert bounds[0] < value < bounds[1]
        assert intervals.mean[0] < point.mean < intervals.mean[1]


def test_identical_rois_have_no_spread():
    counts = np.repeat(tables(1), 8, axis=0)
    intervals = bootstrap(Triple.of_confusion(counts), range(4), "per_roi")
    assert intervals.mean[0] == pytest.approx(intervals.mean[1])


def test_draws_without_the_class_are_dropped_and_counted():
    counts = tables(6)
    counts[1:, 3, :] = 0  # class 3 in one ROI of six
    intervals = bootstrap(Triple.of_confusion(counts), range(4), "pooled")
    assert intervals.dropped[3] == pytest.approx((5 / 6) ** 6, abs=0.02)
    assert intervals.dropped[0] == 0


def test_one_roi_has_no_interval():
    intervals = bootstrap(Triple.of_confusion(tables(1)), range(4), "pooled")
    assert intervals.mean is None
    assert intervals.classes == [None] * 4


def test_effective_number_of_rois():
    assert effective_rois(np.full(7, 30)) == pytest.approx(7)
    assert effective_rois(np.array([1000, 1, 1])) == pytest.approx(1, abs=0.01)
    assert effective_rois(np.zeros(3)) == 0


def test_eight_backends_take_no_time():
    triples = [Triple.of_confusion(tables(45, 7, seed)) for seed in range(8)]
    resample_weights(45)
    begun = time.perf_counter()
    for triple in triples:
        bootstrap(triple, range(7), "pooled")
    assert time.perf_counter() - begun < 3  # 0.3 s where nothing else runs


def test_bca_equals_scipys():
    from scipy import stats

    rng = np.random.default_rng(3)
    true = np.full((40, 1), 1000, np.int64)
    hit = (1000 * rng.beta(1, 6, (40, 1))).astype(np.int64)
    triple = Triple(hit, true, true)
    ours = bootstrap(triple, [0], "per_roi")
    dice = hit[:, 0] / 1000
    theirs = stats.bootstrap(
        (dice,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours.classes_bca[0] == pytest.approx(tuple(theirs), abs=4e-3)
    assert ours.mean_bca == ours.classes_bca[0]
    # The distribution is skewed, so the plain percentiles lie elsewhere.
    assert abs(ours.classes_bca[0][1] - ours.classes[0][1]) > 1e-3


def test_bca_is_not_given_where_it_is_not_defined():
    same = np.full((20, 1), 500, np.int64)
    assert bootstrap(Triple(same, same, same), [0], "per_roi").classes_bca == [None]
    one = np.zeros((20, 1), np.int64)
    one[3] = 500  # one ROI has the class: without it there is nothing
    assert bootstrap(Triple(one, one, one), [0], "pooled").classes_bca == [None]


def test_institutes_resampled_whole_give_wider_intervals():
    """ROIs of one institute are alike, so there are far fewer independent ones than ROIs."""
    rng = np.random.default_rng(0)
    level = np.repeat(rng.uniform(0.2, 0.8, 6), 8)
    true = np.full((48, 1), 10_000, np.int64)
    hit = np.round(true[:, 0] * np.clip(level + rng.normal(0, 0.02, 48), 0, 1)).astype(np.int64)
    triple = Triple(hit[:, None], true, true)
    sites = [f"S{index // 8}" for index in range(48)]
    for estimand in ("per_roi", "pooled"):
        low, high = bootstrap(triple, [0], estimand).mean
        wide_low, wide_high = institute_interval(triple, sites, [0], estimand)
        assert wide_high - wide_low > 1.8 * (high - low)
        alone = institute_interval(triple, [f"R{i}" for i in range(48)], [0], estimand)
        assert alone == pytest.approx((low, high), abs=0.01)
    assert institute_interval(triple, ["one"] * 48, [0], "pooled") is None
