"""Intervals against a naive loop that scores every data set again without one ROI."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbcss.scoring.influence import mean_of_classes, of_counts, over_seeds
from benchbcss.scoring.institutes import institute_intervals
from benchbcss.scoring.intervals import intervals, ratio_interval, region_interval
from benchbcss.scoring.metrics import Triple, per_roi_of, pooled_of

SCORES = {"pooled": pooled_of, "per_roi": per_roi_of}
BOTH = pytest.mark.parametrize("estimand", ["pooled", "per_roi"])


def counts(rois=20, presence=(1.0, 0.8, 0.4), seed=0):
    """Random counts of classes of unequal presence, painted where they are not, too."""
    rng = np.random.default_rng(seed)
    size = (rois, len(presence))
    true = np.where(rng.random(size) < presence, rng.integers(50, 5000, size), 0)
    hit = (true * rng.uniform(0.1, 0.95, size)).astype(np.int64)
    return Triple(hit, true.astype(np.int64), hit + rng.integers(1, 500, size))


def without(triple, roi):
    return Triple(
        *(np.delete(part, roi, 0) for part in (triple.hit, triple.true, triple.predicted))
    )


def naive(triple, classes, estimand):
    """(point, variance, degrees) of the mean over ``classes``, one ROI and one class at a time."""
    rois = len(triple.true)
    score = SCORES[estimand](triple, classes).dice
    psi, weight = np.zeros(rois), np.zeros(rois)
    for c in classes:
        if estimand == "pooled":
            size = [int(triple.true[i, c] + triple.predicted[i, c]) for i in range(rois)]
        else:
            size = [int(triple.true[i, c] > 0) for i in range(rois)]
        for i in range(rois):
            if size[i]:
                rest = SCORES[estimand](without(triple, i), classes).dice[c]
                psi[i] += (score[c] - rest) / len(classes)
                weight[i] += size[i] / sum(size) / len(classes)
    return score[classes].mean(), (psi**2).sum(), 1 / (weight**2).sum() - 1


def by_hand(point, variance, degrees, shift=0.0):
    """The t interval on the logit scale, from scipy's quantile, extended to the side of ``shift``,
    which is at most a standard error."""
    error = np.sqrt(variance)
    shift = max(-error, min(error, shift))
    reach = stats.t.ppf(0.975, degrees) * error
    middle, slope = np.log(point / (1 - point)), point * (1 - point)
    bounds = (-reach + min(shift, 0)) / slope, (reach + max(shift, 0)) / slope
    return [1 / (1 + np.exp(-(middle + bound))) for bound in bounds]


def naive_shift(triple, c):
    """Slope of Dice on log area by least squares, times what the pooled log area falls short of its
    expectation under lognormal areas; less the more the log area is skewed to the left."""
    rows = [i for i in range(len(triple.true)) if triple.true[i, c] > 0]
    area = np.array([float(triple.true[i, c] + triple.predicted[i, c]) for i in rows])
    dice = np.array([2 * triple.hit[i, c] for i in rows]) / area
    log = np.log(area)
    slope = stats.linregress(log, dice).slope
    expected = log.mean() + log.var(ddof=1)
    weight = min(1, max(0, 1.3 + stats.skew(log)))
    return weight * slope * (expected - np.average(log, weights=area))


def naive_degrees(triple, c, degrees):
    """With a fifth of the weight on the ROIs with a hit, or with an error, whichever are fewer."""
    area = (triple.true + triple.predicted)[:, c].astype(float)
    fewer = min(
        area[some].sum() ** 2 / (area[some] ** 2).sum()
        for some in (triple.hit[:, c] > 0, 2 * triple.hit[:, c] < area)
    )
    return degrees**0.8 * min(degrees, fewer - 1) ** 0.2


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_classes_and_mean_equal_a_naive_loop(estimand, seed):
    triple = counts(40, seed=seed)
    found = intervals(triple, [0, 1, 2], estimand)
    shifts = []
    for c in range(3):
        point, variance, degrees = naive(triple, [c], estimand)
        interval = found.classes[c]
        shifts.append(0.0)
        assert interval.point == pytest.approx(point)
        assert interval.effective_rois == pytest.approx(degrees + 1)
        if estimand == "pooled":
            rois = (triple.true[:, c] > 0).sum()
            shifts[c], variance = naive_shift(triple, c), variance * rois / (rois - 2)
            degrees = naive_degrees(triple, c, degrees)
        assert interval.degrees == pytest.approx(degrees)
        assert interval.standard_error == pytest.approx(np.sqrt(variance))
        assert interval.bounds == pytest.approx(by_hand(point, variance, degrees, shifts[c]))
    point, variance, degrees = naive(triple, [0, 1, 2], estimand)
    expected = by_hand(point, variance, degrees, np.mean(shifts))
    assert found.mean.point == pytest.approx(point)
    assert found.mean.effective_rois == pytest.approx(degrees + 1)
    assert found.mean.bounds == pytest.approx(expected)


@BOTH
def test_points_are_the_scores_of_the_board(estimand):
    triple = counts()
    found, score = intervals(triple, [0, 2], estimand), SCORES[estimand](triple, [0, 2])
    assert [i.point for i in found.classes] == pytest.approx(list(score.dice))
    assert found.mean.point == pytest.approx(score.mean)


def test_per_roi_of_one_class_is_the_t_test_but_for_one_degree_in_the_variance():
    """sum (D_i - D)^2 / (n - 1)^2 is n / (n - 1) times the usual variance of a mean."""
    triple = counts(presence=(1.0,))
    dice = 2 * triple.hit[:, 0] / (triple.true + triple.predicted)[:, 0]
    usual = stats.sem(dice)
    found = intervals(triple, [0], "per_roi").classes[0]
    assert found.standard_error == pytest.approx(usual * np.sqrt(20 / 19))
    assert found.degrees == pytest.approx(19)


@BOTH
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.integers(2, 50))
def test_order_and_unit_of_area_do_not_matter(estimand, seed, factor):
    triple = counts(12, seed=seed)
    found = intervals(triple, [0, 1, 2], estimand)
    order = np.random.default_rng(seed).permutation(12)
    parts = (triple.hit, triple.true, triple.predicted)
    again = intervals(Triple(*(factor * part[order] for part in parts)), [0, 1, 2], estimand)
    for a, b in zip((*found.classes, found.mean), (*again.classes, again.mean), strict=True):
        assert a.reason == b.reason
        if a.bounds:
            assert 0 <= a.low <= a.point <= a.high <= 1
            assert a.bounds == pytest.approx(b.bounds)


def test_effective_rois_of_equal_areas_are_the_rois():
    true = np.full((30, 1), 1000, np.int64)
    hit = np.random.default_rng(0).integers(300, 900, (30, 1))
    for estimand in SCORES:
        found = intervals(Triple(hit, true, true), [0], estimand)
        assert found.mean.effective_rois == pytest.approx(30)


def sized(slope, seed=0, rois=45):
    """One class of lognormal areas whose Dice grows with the log of the area by ``slope``."""
    rng = np.random.default_rng(seed)
    log = rng.normal(0, 1, rois)
    area = np.round(np.exp(10 + log)).astype(np.int64)[:, None]
    dice = (0.5 + slope * log + rng.normal(0, 0.1, rois)).clip(0.05, 0.95)
    return Triple(np.round(area[:, 0] * dice).astype(np.int64)[:, None], area, area)


def test_a_pooled_interval_reaches_further_to_the_side_of_the_large_rois_not_drawn():
    """Easier if larger: other samples have larger ROIs, and score higher; and the reverse."""

    def excess(triple):
        """How much further the interval reaches up than down, on the logit scale."""
        found = intervals(triple, [0], "pooled").mean
        low, point, high = (np.log(p / (1 - p)) for p in (found.low, found.point, found.high))
        return (high - point) - (point - low)

    ups = 0
    for seed in range(10):
        for slope in (0.1, -0.1):
            shift = naive_shift(sized(slope, seed), 0)
            assert np.sign(excess(sized(slope, seed))) == np.sign(shift)
            ups += np.sign(shift) == np.sign(slope)
    assert ups >= 14  # the other samples happen to have drawn more large ROIs than expected
    per_roi = intervals(sized(0.1), [0], "per_roi").mean
    assert per_roi.bounds == pytest.approx(by_hand(*naive(sized(0.1), [0], "per_roi")))


def test_areas_that_are_alike_need_no_extension():
    triple = equal(np.random.default_rng(0).uniform(0.3, 0.9, 30))
    found = intervals(triple, [0], "pooled").mean
    point, variance, degrees = naive(triple, [0], "pooled")
    assert found.bounds == pytest.approx(by_hand(point, variance * 30 / 28, degrees))


def test_a_pooled_interval_needs_ten_rois():
    for rois in (9, 10):
        classes = counts(20, (1.0, 1.0), seed=2)
        classes.true[rois:, 1] = classes.hit[rois:, 1] = 0
        found = intervals(classes, [0, 1], "pooled")
        assert (found.classes[1].bounds is not None) == (rois == 10)
        assert found.mean.bounds is not None  # the other class is in twenty
        few = intervals(counts(rois, (1.0, 1.0)), [0, 1], "pooled")
        assert (few.mean.bounds is not None) == (rois == 10)
    assert found.classes[1].reason is None
    few = intervals(counts(9, (1.0, 1.0)), [0, 1], "pooled")
    assert few.classes[0].reason == "only 9 ROIs have it; a pooled interval needs 10"
    assert few.mean.reason == "it is over only 9 ROIs; a pooled interval needs 10"
    assert intervals(counts(9, (1.0, 1.0)), [0, 1], "per_roi").mean.bounds is not None


# -- edges -----------------------------------------------------------------------------------


def equal(values, area=1000):
    """One class, the same area in every ROI, these Dice scores."""
    true = np.full((len(values), 1), area, np.int64)
    return Triple(np.round(np.array(values)[:, None] * area).astype(np.int64), true, true)


@BOTH
def test_exactly_zero_and_one_follow_the_rule_of_three(estimand):
    worst = intervals(equal([0.0] * 20), [0], estimand).classes[0]
    assert (worst.bounds, worst.method) == (pytest.approx((0, 3 / 20)), "rule of three")
    best = intervals(equal([1.0] * 20), [0], estimand).mean
    assert best.bounds == pytest.approx((1 - 3 / 20, 1))
    assert best.degrees is None


def test_a_class_in_one_roi_has_no_interval_and_takes_that_of_the_mean():
    triple = counts(presence=(1.0, 1.0))
    triple.true[1:, 1] = triple.hit[1:, 1] = 0
    for estimand in SCORES:
        found = intervals(triple, [0, 1], estimand, ["tumor", "necrosis"])
        assert found.classes[1].point is not None
        assert found.classes[1].bounds is None
        assert found.classes[1].reason == "only one ROI has it"
        why = "only 1 ROI has necrosis, which is in the mean; an interval needs 3"
        assert found.mean.reason == why
        assert found.mean.bounds is None
        assert found.classes[0].bounds is not None


def test_a_mean_needs_three_rois_of_each_class():
    for rois, enough in ((2, False), (3, True)):
        triple = counts(presence=(1.0, 1.0))
        triple.true[rois:, 1] = triple.hit[rois:, 1] = 0
        assert (intervals(triple, [0, 1], "per_roi").mean.bounds is not None) == enough


def test_an_absent_class_is_undefined_and_leaves_the_mean():
    triple = counts(presence=(1.0, 1.0, 0.0))
    for estimand in SCORES:
        found = intervals(triple, [0, 1, 2], estimand)
        assert (found.defined, found.of) == (2, 3)
        assert found.classes[2].point is None
        assert found.classes[2].reason == "no ground truth of it in the scored ROIs"
        assert found.mean == intervals(triple, [0, 1], estimand).mean
        assert intervals(triple, [2], estimand).mean.point is None


def test_few_effective_rois_have_no_interval():
    assert intervals(equal([0.2, 0.5, 0.8]), [0], "per_roi").mean.bounds is None
    assert intervals(equal([0.2, 0.5, 0.8, 0.6]), [0], "per_roi").mean.bounds is not None
    giant = counts(45, (1.0,))
    giant.true[0] *= 1000
    giant.predicted[0] *= 1000
    pooled = intervals(giant, [0], "pooled").mean
    assert pooled.bounds is None
    assert pooled.reason.startswith("it rests on effectively 1.")
    assert intervals(giant, [0], "per_roi").mean.bounds is not None


def test_pooled_intervals_near_the_edge_are_withheld():
    """Four ROIs of 45 with a hit, or with an error: nothing is known about the spread of those."""
    for values, what in (([0.0] * 41 + [0.5] * 4, "a hit"), ([1.0] * 41 + [0.5] * 4, "an error")):
        found = intervals(equal(values), [0], "pooled").classes[0]
        assert found.reason == f"only 4 ROIs have {what} in it; an interval needs 5"
        assert intervals(equal(values), [0], "per_roi").classes[0].bounds is not None
    assert intervals(equal([0.0] * 40 + [0.5] * 5), [0], "pooled").classes[0].bounds is not None


@BOTH
def test_identical_rois_have_no_spread_to_measure(estimand):
    found = intervals(equal([0.6] * 20), [0], estimand).mean
    assert found.bounds is None
    assert "same score" in found.reason


def test_an_unknown_estimand_is_refused():
    with pytest.raises(ValueError, match="median"):
        intervals(counts(), [0], "median")


# -- seeds, regions, institutes --------------------------------------------------------------


@BOTH
def test_seeds_are_averaged_and_their_spread_stands_apart(estimand):
    runs = [counts(40, seed=1)]
    for seed in (2, 3):
        noise = np.random.default_rng(seed).uniform(0.7, 1, runs[0].hit.shape)
        runs.append(dataclasses.replace(runs[0], hit=(runs[0].hit * noise).astype(np.int64)))
    found = intervals(runs, [0, 1, 2], estimand)
    each = [intervals(run, [0, 1, 2], estimand) for run in runs]
    assert found.mean.point == pytest.approx(np.mean([one.mean.point for one in each]))
    assert found.seed_sd == pytest.approx(np.std([one.mean.point for one in each], ddof=1))
    joined = mean_of_classes(over_seeds([of_counts(run, estimand) for run in runs]), [0, 1, 2])
    psi = np.mean([mean_of_classes(of_counts(r, estimand), [0, 1, 2]).psi for r in runs], axis=0)
    assert joined.psi == pytest.approx(psi)
    assert found.mean.standard_error == pytest.approx(np.sqrt((psi**2).sum()))
    assert each[0].seed_sd is None


def test_region_accuracy_is_clustered_by_roi():
    """Regions of an ROI that are all right or all wrong are one observation, not four."""
    rois = [f"r{i}" for i in range(30) for _ in range(4)]
    right = [i % 3 > 0 for i in range(30) for _ in range(4)]
    found = region_interval(rois, right)
    assert found.point == pytest.approx(2 / 3)
    one_each = region_interval([f"r{i}" for i in range(30)], [i % 3 > 0 for i in range(30)])
    assert found.bounds == pytest.approx(one_each.bounds)
    alone = region_interval([str(i) for i in range(120)], right)
    assert found.high - found.low > 1.8 * (alone.high - alone.low)
    assert found.rois == 30


def test_region_accuracy_equals_leaving_each_roi_out():
    rng = np.random.default_rng(0)
    total = rng.integers(1, 6, 25)
    right = rng.binomial(total, 0.7)
    found = ratio_interval(right, total)
    point = right.sum() / total.sum()
    psi = [point - np.delete(right, i).sum() / np.delete(total, i).sum() for i in range(25)]
    degrees = 1 / ((total / total.sum()) ** 2).sum() - 1
    assert found.bounds == pytest.approx(by_hand(point, np.square(psi).sum(), degrees))


def test_region_accuracy_of_few_rois_is_given_without_an_interval():
    found = region_interval([str(i) for i in range(10)], [True] * 9 + [False])
    assert found.point == pytest.approx(0.9)
    assert found.reason == "it rests on effectively 10.0 ROIs; an interval needs 13"


#: ROIs of the institutes E2, EW, OL, GM, LL and S3: the official test set of BCSS
BCSS_TEST = {"E2": 16, "EW": 10, "OL": 7, "GM": 6, "LL": 4, "S3": 2}


def naive_institutes(triple, sites, classes, estimand):
    """(point, variance, degrees) of the mean over ``classes``, one institute at a time."""
    names = sorted(set(sites))
    point = SCORES[estimand](triple, classes).dice[classes].mean()
    squares, share = 0.0, np.zeros(len(names))
    for g, name in enumerate(names):
        kept = [i for i, site in enumerate(sites) if site != name]
        rest = Triple(triple.hit[kept], triple.true[kept], triple.predicted[kept])
        squares += (SCORES[estimand](rest, classes).dice[classes].mean() - point) ** 2
        for c in classes:
            if estimand == "pooled":
                size = [int(triple.true[i, c] + triple.predicted[i, c]) for i in range(len(sites))]
            else:
                size = [int(triple.true[i, c] > 0) for i in range(len(sites))]
            own = sum(size[i] for i in range(len(sites)) if sites[i] == name)
            share[g] += own / sum(size) / len(classes)
    return point, (len(names) - 1) / len(names) * squares, 1 / (share**2).sum() - 1


@BOTH
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [[4] * 6, list(BCSS_TEST.values()), [9, 8, 7, 3]])
def test_institutes_equal_a_naive_loop(estimand, seed, sizes):
    sites = [f"S{g}" for g, size in enumerate(sizes) for _ in range(size)]
    triple = counts(len(sites), (1.0, 0.9), seed)
    found = institute_intervals(triple, sites, [0, 1], estimand)
    for interval, classes in (
        (found.classes[0], [0]),
        (found.classes[1], [1]),
        (found.mean, [0, 1]),
    ):
        point, variance, degrees = naive_institutes(triple, sites, classes, estimand)
        assert interval.point == pytest.approx(point)
        assert interval.effective_rois == pytest.approx(degrees + 1)
        assert interval.standard_error == pytest.approx(np.sqrt(variance))
        assert interval.degrees == pytest.approx(degrees)
        assert interval.bounds == pytest.approx(by_hand(point, variance, degrees))
        assert interval.rois == len(sizes)


def test_equal_institutes_have_one_degree_less_than_their_number():
    triple = equal(np.random.default_rng(0).uniform(0.3, 0.9, 24))
    for estimand in SCORES:
        mean = institute_intervals(triple, [f"S{i % 6}" for i in range(24)], [0], estimand).mean
        assert mean.degrees == pytest.approx(5)


def test_the_test_institutes_of_bcss_have_an_interval():
    """45 ROIs of six institutes, a class of unequal areas: effectively 4.4 institutes, not 6."""
    sites = [name for name, size in BCSS_TEST.items() for _ in range(size)]
    mean = institute_intervals(counts(45, (1.0,)), sites, [0], "per_roi").mean
    assert mean.effective_rois == pytest.approx(45**2 / sum(n**2 for n in BCSS_TEST.values()))
    assert mean.degrees == pytest.approx(mean.effective_rois - 1)
    assert mean.bounds is not None


@BOTH
def test_seeds_of_a_backend_are_averaged_over_institutes_too(estimand):
    runs = [counts(45, (1.0, 0.9), seed=1)]
    noise = np.random.default_rng(2).uniform(0.7, 1, runs[0].hit.shape)
    runs.append(dataclasses.replace(runs[0], hit=(runs[0].hit * noise).astype(np.int64)))
    sites = [name for name, size in BCSS_TEST.items() for _ in range(size)]
    both = institute_intervals(runs, sites, [0, 1], estimand).mean
    each = [institute_intervals(run, sites, [0, 1], estimand).mean for run in runs]
    assert both.point == pytest.approx(np.mean([one.point for one in each]))
    assert both.degrees == pytest.approx(each[0].degrees)
    errors = [one.standard_error for one in each]
    assert min(errors) * 0.9 < both.standard_error < max(errors)


def test_institutes_that_differ_give_wider_intervals():
    level = np.repeat(np.random.default_rng(0).uniform(0.2, 0.8, 6), 8)
    triple = equal(level + np.random.default_rng(1).normal(0, 0.02, 48), 10_000)
    sites = [f"S{i // 8}" for i in range(48)]
    for estimand in SCORES:
        narrow = intervals(triple, [0], estimand).mean
        wide = institute_intervals(triple, sites, [0], estimand).mean
        assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)


def test_institute_intervals_are_withheld_with_a_reason():
    triple = counts(12, (1.0, 1.0))
    triple.true[4:, 1] = triple.hit[4:, 1] = 0
    one = institute_intervals(triple, ["A"] * 12, [0], "per_roi").mean
    assert (one.bounds, one.reason) == (None, "all ROIs are from one institute")
    found = institute_intervals(triple, ["A"] * 4 + ["B"] * 4 + ["C"] * 4, [0, 1], "per_roi")
    assert found.classes[0].bounds is not None  # three of equal size are three, however rounded
    assert "from one institute" in found.classes[1].reason
    assert found.mean.bounds is None
    uneven = institute_intervals(triple, ["A"] * 9 + ["B", "C", "D"], [0], "per_roi").mean
    assert uneven.reason == "it rests on effectively 1.7 institutes; an interval needs 3"
    assert institute_intervals(triple, ["A"] * 12, [], "per_roi").mean.point is None


def test_pooled_intervals_over_institutes_count_area():
    """One giant ROI: its institute has most of the pixels, so effectively there is one."""
    triple = counts(45, (1.0,))
    triple.true[0] *= 100
    triple.predicted[0] *= 100
    sites = [name for name, size in BCSS_TEST.items() for _ in range(size)]
    pooled = institute_intervals(triple, sites, [0], "pooled").mean
    assert pooled.bounds is None
    assert pooled.reason.startswith("it rests on effectively 1.")
    assert institute_intervals(triple, sites, [0], "per_roi").mean.bounds is not None


def test_degrees_of_institutes_count_those_that_have_the_class():
    triple = counts(20, (1.0, 1.0))
    triple.true[16:, 1] = triple.hit[16:, 1] = triple.predicted[16:, 1] = 0
    sites = [f"S{i // 4}" for i in range(20)]
    found = institute_intervals(triple, sites, [0, 1], "per_roi")
    assert [i.degrees for i in found.classes] == pytest.approx([4, 3])
    assert [i.rois for i in found.classes] == [5, 4]
    shares = np.array([0.225, 0.225, 0.225, 0.225, 0.1])
    assert found.mean.effective_rois == pytest.approx(1 / (shares**2).sum())
