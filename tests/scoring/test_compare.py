"""Paired comparison: against scipy, against enumerated sign flips, and against itself."""

import json
from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbcss.errors import InputError
from benchbcss.scoring.compare import Entry, compare, holm, sign_flips, tied_ranks
from benchbcss.scoring.influence import mean_of_classes, of_counts
from benchbcss.scoring.metrics import Triple

BOTH = pytest.mark.parametrize("estimand", ["pooled", "per_roi"])


def entry(name, shift=0.0, noise_seed=1, rois=45, classes=2, sd=0.05, seeds=1, areas=False):
    """Dice of a common level per ROI, plus ``shift`` (one per class or for all) and own noise."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0.3, 0.6, (rois, classes))
    size = rng.integers(20_000, 200_000, (rois, classes)) if areas else 100_000
    true = np.broadcast_to(size, (rois, classes)).astype(np.int64)
    triples = []
    for seed in range(seeds):
        noise = np.random.default_rng(1000 * noise_seed + seed).normal(0, sd, (rois, classes))
        hit = np.round(true * np.clip(level + shift + noise, 0, 1)).astype(np.int64)
        triples.append(Triple(hit, true, true))
    return Entry(name, tuple(triples))


def pair(a, b, estimand="per_roi", classes=(0, 1)):
    return compare([a, b], list(classes), estimand).pairs[0]


# -- more than 12 ROIs: t --------------------------------------------------------------------


def test_of_equal_weights_it_is_scipys_t_test_but_for_one_degree_in_the_variance():
    a, b = entry("a", 0.02, 1, classes=1), entry("b", 0.0, 2, classes=1)
    gaps = (a.triples[0].hit - b.triples[0].hit)[:, 0] / 100_000
    usual = stats.ttest_1samp(gaps, 0)
    expected = 2 * stats.t.sf(abs(usual.statistic) * np.sqrt(44 / 45), 44)
    for estimand in ("per_roi", "pooled"):
        found = pair(a, b, estimand, [0]).mean
        assert found.p == pytest.approx(expected)
        low, high = usual.confidence_interval()
        widened = np.sqrt(45 / 44) * (np.array([low, high]) - gaps.mean()) + gaps.mean()
        assert found.bounds == pytest.approx(tuple(widened))
        assert found.method == "t"


@BOTH
def test_variance_is_that_of_the_difference_of_influences(estimand):
    a, b = entry("a", 0.02, 1, areas=True), entry("b", 0.0, 2, areas=True)
    found = pair(a, b, estimand).mean
    first, second = (mean_of_classes(of_counts(e.triples[0], estimand), [0, 1]) for e in (a, b))
    error = np.sqrt(((first.psi - second.psi) ** 2).sum())
    degrees = 1 / (first.share**2).sum() - 1
    assert found.point == pytest.approx(first.point[0] - second.point[0])
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.point) / error, degrees))
    assert found.high - found.point == pytest.approx(stats.t.ppf(0.975, degrees) * error)


@BOTH
def test_sign_flips_of_the_same_statistic_agree_with_t(estimand):
    a, b = entry("a", 0.015, 3, areas=True), entry("b", 0.0, 4, areas=True)
    found = pair(a, b, estimand).mean
    first, second = (mean_of_classes(of_counts(e.triples[0], estimand), [0, 1]) for e in (a, b))
    parts = (first.psi - second.psi)[:, 0] + first.share[:, 0] * found.point
    signs = np.random.default_rng(0).choice([-1, 1], (40_000, 45))
    p = (np.abs(signs @ parts) >= abs(found.point)).mean()
    assert found.p == pytest.approx(p, abs=0.02)


def test_pairing_sees_what_separate_intervals_cannot():
    from benchbcss.scoring.intervals import intervals

    a, b = entry("a", 0.03, 1, sd=0.02), entry("b", 0.0, 2, sd=0.02)
    alone = [intervals(e.triples, [0, 1], "per_roi").mean for e in (a, b)]
    assert alone[0].low < alone[1].high
    found = pair(a, b)
    assert found.verdict == "a"
    assert found.mean.high - found.mean.low < 0.6 * (alone[0].high - alone[0].low)


# -- up to 12 ROIs: enumerated ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rois", [6, 9, 12])
def test_few_rois_equal_scipys_exact_permutation_test(seed, rois):
    a = entry("a", 0.03, 10 + seed, rois=rois, classes=1)
    b = entry("b", 0.0, 50 + seed, rois=rois, classes=1)
    x, y = ((e.triples[0].hit[:, 0] / 100_000) for e in (a, b))
    exact = stats.permutation_test(
        (x, y),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = pair(a, b, "per_roi", [0]).mean
    assert found.p == pytest.approx(exact.pvalue)
    assert found.method == "sign flips"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000), rois=st.integers(6, 9))
def test_the_interval_is_what_the_enumerated_test_does_not_reject(seed, rois):
    """Oracle: flip signs of parts - weights * d, one vector and one d at a time."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(rois))
    parts = weights * rng.normal(0.5, 1, rois)
    low, high, p = sign_flips(parts, weights)

    def test(value):
        rest = parts - weights * value
        flips = [abs(np.dot(signs, rest)) for signs in product((-1, 1), repeat=rois)]
        return np.mean(np.array(flips) >= abs(rest.sum()) - 1e-12)

    assert p == pytest.approx(test(0.0))
    width = high - low
    for value in (low + 1e-6 * width, parts.sum(), high - 1e-6 * width):
        assert test(value) > 0.05
    for value in (low - 1e-6 * width, high + 1e-6 * width):
        assert test(value) <= 0.05


def test_five_rois_cannot_decide_and_say_so():
    found = pair(entry("a", 0.3, 1, rois=5), entry("b", 0.0, 2, rois=5))
    assert found.mean.p == pytest.approx(2 / 32)
    assert found.mean.bounds is None
    assert found.mean.reason.startswith("with 5 ROIs the smallest possible p-value is 0.062")
    assert (found.verdict, found.note) == ("tie", found.mean.reason)
    six = pair(entry("a", 0.3, 1, rois=6), entry("b", 0.0, 2, rois=6))
    assert six.mean.p == pytest.approx(2 / 64)
    assert six.mean.low > 0
    assert six.verdict == "a"


@BOTH
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(1, 100_000), rois=st.integers(6, 20), shift=st.sampled_from([0, 0.03, 0.06])
)
def test_interval_and_p_never_contradict_each_other(estimand, seed, rois, shift):
    a = entry("a", shift, seed, rois=rois, areas=True)
    b = entry("b", 0.0, seed + 1, rois=rois, areas=True)
    comparison = compare([a, b], [0, 1], estimand)
    for found in (comparison.pairs[0].mean, *comparison.pairs[0].classes):
        if found.bounds:
            assert found.low <= found.point <= found.high
            assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    apart = comparison.pairs[0].verdict != "tie"
    assert apart == (comparison.pairs[0].p_holm < 0.05)


@BOTH
def test_swapping_the_two_mirrors_everything(estimand):
    for rois in (10, 30):
        a, b = entry("a", 0.03, 1, rois=rois, areas=True), entry("b", 0, 2, rois=rois, areas=True)
        one, other = pair(a, b, estimand).mean, pair(b, a, estimand).mean
        assert one.p == pytest.approx(other.p)
        assert one.bounds == pytest.approx((-other.high, -other.low))


# -- edges -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("rois", [8, 45])
def test_a_backend_ties_with_itself(estimand, rois):
    same = entry("a", rois=rois)
    found = pair(same, Entry("b", same.triples), estimand)
    assert (found.mean.point, found.mean.p, found.verdict) == (0, 1, "tie")
    assert found.mean.bounds == (0, 0)


def test_a_class_without_truth_or_in_one_roi_is_not_compared():
    def cut(e):
        (t,) = e.triples
        true, hit = t.true.copy(), t.hit.copy()
        true[1:, 1] = hit[1:, 1] = 0
        return Entry(e.name, (Triple(hit, true, t.predicted),))

    found = pair(cut(entry("a", 0.1)), cut(entry("b", 0, 2)), "per_roi")
    assert found.classes[1].reason.startswith("only one ROI")
    assert found.mean.p is None
    assert (found.p_holm, found.verdict) == (None, "tie")
    assert found.classes[0].p < 0.001


def test_one_giant_roi_withholds_the_pooled_difference():
    def grow(e):
        (t,) = e.triples
        scale = np.ones((45, 1), np.int64)
        scale[0] = 10_000
        return Entry(e.name, (Triple(t.hit * scale, t.true * scale, t.predicted * scale),))

    a, b = grow(entry("a", 0.1)), grow(entry("b", 0, 2))
    assert pair(a, b, "pooled").mean.reason.startswith("it rests on effectively 1.")
    assert pair(a, b, "pooled").verdict == "tie"
    assert pair(a, b, "per_roi").verdict == "a"


def test_other_masks_are_refused():
    (t,) = entry("b").triples
    other = Entry("b", (Triple(t.hit, t.true + 1, t.predicted),))
    with pytest.raises(InputError, match="b was scored against other masks than a"):
        compare([entry("a"), other], [0], "per_roi")


# -- many backends ---------------------------------------------------------------------------


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values):
    reason = "statsmodels is not installed (pip install 'benchbcss[test]')"
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason=reason)
    assert holm(p_values) == pytest.approx(
        list(multitest.multipletests(p_values, method="holm")[1])
    )


def test_a_tie_after_adjusting_says_so():
    """One pair of many is different alone, and not after Holm: no number contradicts the tie."""
    entries = [entry(str(k), 0.022 if k == 0 else 0.0, k + 1) for k in range(8)]
    comparison = compare(entries, [0, 1], "per_roi")
    odd = [p for p in comparison.pairs if p.mean.p < 0.05 <= p.p_holm]
    assert odd
    for found in odd:
        assert found.verdict == "tie"
        assert "not after adjusting for 28 pairs" in found.note


def test_ties_share_their_rank():
    found = compare(
        [entry("good", 0.2, 1), entry("also", 0.2, 2), entry("bad", 0.0, 3)], [0, 1], "per_roi"
    )
    by_name = {s.name: s for s in found.standings}
    assert [by_name[n].rank_text for n in ("good", "also", "bad")] == ["1-2", "1-2", "3"]
    assert sorted(by_name[n].rank for n in by_name) == [1, 2, 3]
    assert by_name["bad"].rank_interval == (3, 3)
    verdicts = {(p.a, p.b): p.verdict for p in found.pairs}
    assert verdicts == {("good", "also"): "tie", ("good", "bad"): "good", ("also", "bad"): "also"}


def test_few_rois_have_no_rank_interval():
    """Three ROIs of which one has a class: every resample ranks alike, which proves nothing."""
    for rois, some in ((9, False), (10, True)):
        few = [entry("a", 0.2, 1, rois), entry("b", 0.0, 2, rois)]
        for standing in compare(few, [0, 1], "per_roi").standings:
            assert (standing.rank_interval is not None) == some
    rare = [entry("a", 0.2, 1), entry("b", 0.0, 2)]
    for one in rare:
        one.triples[0].true[2:, 1] = one.triples[0].hit[2:, 1] = 0
    for standing in compare(rare, [0, 1], "per_roi").standings:
        assert standing.rank_interval is None


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 100_000), number=st.integers(1, 7))
def test_rank_1_is_never_alone_above_one_it_cannot_be_told_from(seed, number):
    rng = np.random.default_rng(seed)
    points = rng.random(number)
    apart = np.triu(rng.random((number, number)) < 0.5, 1)
    apart |= apart.T
    for me, (first, last) in enumerate(tied_ranks(points, apart)):
        rank = 1 + (points > points[me]).sum()
        assert 1 <= first <= rank <= last <= number
        tied = [other for other in range(number) if other != me and not apart[me, other]]
        if first == last:
            assert not tied


def test_seeds_are_averaged_and_their_spread_stands_apart():
    a, b = entry("a", 0.0, 1, seeds=3), entry("b", 0.0, 7)
    found = compare([a, b], [0, 1], "per_roi")
    first, second = found.standings
    assert first.seed_sd > 0
    assert second.seed_sd is None
    values = [mean_of_classes(of_counts(t, "per_roi"), [0, 1]).point[0] for t in a.triples]
    assert first.point == pytest.approx(np.mean(values))
    assert found.pairs[0].mean.point == pytest.approx(first.point - second.point)


@pytest.mark.parametrize("rois", [2, 5, 9])
def test_no_p_value_is_below_what_so_few_rois_allow(rois):
    """A board has contributions and shares as records keep them, rounded to twelve digits, so that
    shares need not sum to 1 exactly."""
    draw = np.random.default_rng(0)
    for _ in range(300):
        weights = draw.random(rois) + 0.1
        weights = np.round(weights / weights.sum(), 12)
        parts = np.round(weights * draw.uniform(0.1, 0.9, rois), 12)
        low, high, p = sign_flips(parts, weights)
        assert p == pytest.approx(2 / 2**rois)
        assert np.isfinite(low) == np.isfinite(high) == (rois > 5)


@pytest.mark.parametrize("estimand", ["per_roi", "pooled"])
@pytest.mark.parametrize("rois", [1, 7, 20])
def test_without_any_truth_nothing_is_a_number(estimand, rois):
    """``compare --format json`` holds no NaN, whatever is undefined."""
    nothing = np.zeros((rois, 2), np.int64)
    triple = Triple(nothing, nothing, nothing + 3)
    found = compare([Entry("a", (triple, triple)), Entry("b", (triple,))], (0, 1), estimand)
    json.dumps(asdict(found), allow_nan=False)
    assert [one.seed_sd for one in found.standings] == [None, None]


def test_wins_count_rois():
    found = compare([entry("a", 0.02, 1), entry("b", 0.0, 2)], [0, 1], "per_roi")
    assert found.wins[0][0] == 0
    assert found.wins[0][1] > found.wins[1][0]
    assert found.wins[0][1] + found.wins[1][0] == found.rois == 45


def test_under_no_difference_about_one_pair_in_twenty_is_called_one():
    verdicts = [pair(entry("a", 0, 2 * k), entry("b", 0, 2 * k + 1)).verdict for k in range(1, 121)]
    assert verdicts.count("tie") >= 107  # 95 % expected; below 0.5 % of chance
