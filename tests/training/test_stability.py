"""Verdicts on published histories, on families of curves, and on the edges between statuses."""

import numpy as np
import pytest

from benchbcss.training.history import History
from benchbcss.training.stability import Course, Floor, judge, not_trained, thresholds

V1 = Course([50, 80, 90, 100, 110], [0.072, 0.321, 0.287, 0.335, 0.266], start=0.55)
V2 = Course([5, 10, 15, 20, 25], [0.7843, 0.8138, 0.8235, 0.8178, 0.7813])


def course(values, **more):
    return Course(list(range(1, len(values) + 1)), list(values), **more)


def test_v1s_published_history_collapsed():
    verdict = judge(V1)
    assert verdict.status == "collapsed"
    assert "fell to 0.072 after epoch 50; it had been 0.550 before training" in verdict.reason
    assert verdict.note is None  # 0.335 is no recovery
    assert verdict.evidence["values"] == list(V1.values)
    assert verdict.evidence["epochs"] == [50, 80, 90, 100, 110]
    assert verdict.evidence["start"] == 0.55


def test_v2s_published_table_is_stable_and_overfits_after_epoch_15():
    verdict = judge(V2)
    assert verdict.status == "stable"
    assert verdict.note == "overfitting after epoch 15"


def test_v3s_published_best_is_no_gain_over_its_zero_shot_start():
    """0.42 and 0.40 after fine-tuning, from 0.55."""
    verdict = judge(course([0.3, 0.38, 0.42, 0.40], start=0.55))
    assert verdict.status == "no gain"
    assert "0.420 after epoch 3, is not above the start, 0.550" in verdict.reason


def test_no_strictly_increasing_sigmoid_is_a_collapse():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        count = int(rng.integers(4, 60))
        times = np.linspace(0, 1, count + 1)
        height, middle = rng.uniform(0.02, 1), rng.uniform(-0.5, 1.5)
        curve = height / (1 + np.exp(-(times - middle) / rng.uniform(0.02, 0.5)))
        curve = curve[np.append(True, np.diff(curve) > 0)]  # floats end where a sigmoid is flat
        verdict = judge(course(curve[1:], start=curve[0]))
        assert verdict.status == "stable", (curve, verdict)
        assert verdict.note is None


@pytest.mark.parametrize("validations", [8, 20, 40])
@pytest.mark.parametrize("constant", [0.05, 0.1, 0.2, 0.4, 0.8])
@pytest.mark.parametrize(("reached", "ceiling"), [(None, 0.7), (None, 0.85), (0.5, None)])
def test_saturating_noisy_curves_are_rarely_called_unstable(
    validations, constant, reached, ceiling
):
    """``constant`` is the time constant as a share of training, ``ceiling`` the level approached,
    ``reached`` the level at the end; noise of sd 0.06, as validation over few ROIs has.
    """
    rng = np.random.default_rng(1)
    times = np.arange(validations + 1) / validations
    clean = 1 - np.exp(-times / constant)
    clean *= ceiling if ceiling is not None else reached / clean[-1]
    unstable = 0
    for _ in range(500):
        noisy = (clean + 0.06 * rng.standard_normal(validations + 1)).clip(0, 1)
        unstable += judge(course(noisy[1:], start=noisy[0])).status != "stable"
    assert unstable / 500 < 0.02


@pytest.mark.parametrize("validations", [20, 40, 160])
@pytest.mark.parametrize(("constant", "ceiling"), [(0.8, 0.5), (1.6, 0.35), (0.4, 0.2)])
def test_slow_curves_near_the_noise_are_rarely_called_collapsed(validations, constant, ceiling):
    """By the ratios alone, 15 % of those towards 0.5 were over 40 validations, more over more."""
    rng = np.random.default_rng(2)
    times = np.arange(validations + 1) / validations
    clean = ceiling * (1 - np.exp(-times / constant))
    fallen = 0
    for _ in range(200):
        noisy = (clean + 0.06 * rng.standard_normal(validations + 1)).clip(0, 1)
        fallen += judge(course(noisy[1:], start=noisy[0])).status == "collapsed"
    assert fallen / 200 <= 0.03


@pytest.mark.parametrize("validations", [20, 40, 80])
@pytest.mark.parametrize("after", ["nothing", "four tenths"])
def test_a_collapse_for_good_is_found_in_noise(validations, after):
    rng = np.random.default_rng(3)
    clean = np.full(validations, 0.6)
    late = np.arange(validations) >= 0.4 * validations
    clean[late] = 0.02 if after == "nothing" else 0.24
    found = 0
    for _ in range(100):
        noisy = (clean + 0.06 * rng.standard_normal(validations)).clip(0, 1)
        found += judge(course(noisy, start=0.3)).status == "collapsed"
    assert found >= (99 if after == "nothing" else 90)


def test_the_same_drop_counts_where_the_noise_is_small():
    quiet = [0.3, 0.3, 0.31, 0.3, 0.31, 0.3, 0.3, 0.05, 0.3, 0.3, 0.31, 0.3]
    loud = [0.2, 0.35, 0.22, 0.31, 0.18, 0.3, 0.2, 0.05, 0.21, 0.3, 0.2, 0.28]
    assert judge(course(quiet)).status == "collapsed"
    assert judge(course(loud)).status == "stable"
    assert judge(course(quiet)).evidence["noise"] < 0.01
    assert judge(course(loud)).evidence["noise"] == 0.06  # no more than that


def test_a_fall_that_is_recovered_from_is_a_collapse_that_says_so():
    verdict = judge(course([0.4, 0.6, 0.6, 0.05, 0.3, 0.61, 0.62]))
    assert verdict.status == "collapsed"
    assert "fell to 0.050 after epoch 4; it had been 0.600 after epoch 2" in verdict.reason
    assert verdict.note == "it recovered to 0.610 after epoch 6"


def test_only_a_recovery_from_the_last_fall_is_one():
    verdict = judge(course([0.4, 0.6, 0.05, 0.61, 0.61, 0.04, 0.3]))
    assert "fell to 0.050 after epoch 3" in verdict.reason
    assert verdict.note is None


def test_a_fall_is_judged_against_the_best_so_far_not_the_best_to_come():
    values = [0.1, 0.1, 0.1, 0.1, 0.1, 0.6, 0.9, 0.9]
    assert judge(course(values)).status == "stable"


def test_a_fall_below_the_start_counts_as_well():
    assert judge(course([0.5, 0.3, 0.09, 0.2, 0.6], start=0.55)).status == "collapsed"
    assert judge(course([0.5, 0.3, 0.12, 0.2, 0.6], start=0.55)).status == "stable"


def test_the_first_quarter_of_the_epochs_run_is_not_judged():
    values = [0.5, 0.02, 0.4, 0.5, 0.55, 0.6, 0.6, 0.61]
    assert judge(course(values)).status == "stable"  # epoch 2 of 8
    late = [0.5, 0.5, 0.02, 0.5, 0.55, 0.6, 0.6, 0.61]
    assert judge(course(late)).status == "collapsed"
    assert judge(course(late, epochs_run=12)).status == "stable"  # three of twelve


def test_a_sunken_tail_is_a_collapse():
    verdict = judge(course([0.2, 0.5, 0.6, 0.6, 0.5, 0.3, 0.3, 0.3, 0.3]))
    assert verdict.status == "collapsed"
    assert "6 validations since the best, 0.600 after epoch 3, have median 0.300" in verdict.reason
    assert judge(course([0.2, 0.5, 0.6, 0.3, 0.3])).status == "stable"  # two are no tail
    assert judge(course([0.2, 0.5, 0.6, 0.3, 0.3])).note == "overfitting after epoch 3"


def test_the_median_is_of_all_since_the_best_not_of_the_last_three():
    assert judge(course([0.6, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3])).status == "stable"


def test_not_above_the_floor_is_no_learning():
    verdict = judge(course([0.08, 0.09, 0.1, 0.1, 0.1]), Floor(0.1, "the majority floor"))
    assert verdict.status == "no learning"
    assert "0.100, is not above the majority floor, 0.100" in verdict.reason
    # What hovers below the floor has nothing to lose.
    assert judge(course([0.05, 0.05, 0.05, 0.001, 0.05]), Floor(0.1)).status == "no learning"
    # A start above it had.
    assert judge(course([0.05] * 5, start=0.55), Floor(0.1)).status == "collapsed"


def test_a_best_at_the_start_is_no_gain_and_one_above_it_a_gain():
    assert judge(course([0.5, 0.55], start=0.55)).status == "no gain"
    assert judge(course([0.5, 0.551], start=0.55)).status == "stable"


def test_divergence_comes_before_everything_else():
    reason = "the loss was not finite at step 7, in epoch 2"
    verdict = judge(course([0.1, 0.2], diverged=reason), Floor(0.5))
    assert (verdict.status, verdict.reason) == ("diverged", reason)
    assert judge(Course([], [], diverged=reason)).status == "diverged"


def test_a_spike_alone_is_forgiven_and_with_a_doubled_loss_is_not():
    values, norms = [0.1, 0.2, 0.3, 0.3, 0.3], [1, 1, 500, 1, 1]

    def status(losses):
        return judge(course(values, losses=losses, gradient_norms=norms)).status

    assert status([2, 1, 1, 1, 1]) == "stable"
    assert status([2, 1, 2, 3, 3]) == "diverged"
    assert status([2, 1, 2, 3, 1]) == "stable"  # one epoch is not two
    assert status([2, 1, 2, None, 3]) == "stable"


def test_without_a_pixel_to_judge_it_is_undefined():
    assert judge(Course([], [])).status == "undefined"
    verdict = judge(course([None, None]))
    assert verdict.status == "undefined"
    assert "no validation has a pixel to judge" in verdict.reason
    assert judge(course([None, 0.4, 0.5])).status == "stable"


def test_without_training_it_does_not_apply():
    assert not_trained().status == "not applicable"


def test_the_evidence_is_plain_and_enough_to_judge_again():
    import json

    verdict = judge(V1, Floor(0.1))
    stored = json.loads(json.dumps(verdict.evidence, allow_nan=False))
    again = Course(stored["epochs"], stored["values"], start=stored["start"])
    assert judge(again, Floor(**stored["floor"])).reason == verdict.reason
    assert stored["thresholds"]["fall"] == thresholds().fall == 0.2
    assert 0 < stored["noise"] <= thresholds().most_noise


def test_the_thresholds_name_their_source():
    assert "METHODOLOGY" in thresholds().source


def test_a_course_is_read_from_what_the_loop_recorded():
    def record(epoch, **more):
        return {"epoch": epoch, "loss": {"loss": 1.0}, "grad_norm_max": 2.0, **more}

    history = History(
        records=[record(0), record(1, val_mean_dice=0.3), record(2)],
        start={"step": 0, "val_mean_dice": 0.2},
    )
    read = Course.of(history)
    assert (read.epochs, read.values, read.start) == ([2], [0.3], 0.2)
    assert (read.losses, read.gradient_norms, read.epochs_run) == ([1.0] * 3, [2.0] * 3, 3)
    assert read.diverged is None
