import math

import numpy as np
import pytest

from benchbcss.training.stability import judge


def test_v1s_published_history_collapsed():
    epochs = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    values = [0.40, 0.52, 0.55, 0.50, 0.07, 0.20, 0.30, 0.31, 0.33, 0.34]
    verdict = judge(epochs, values)
    assert verdict.status == "collapsed"
    assert "0.070 at epoch 50" in verdict.reason
    assert verdict.evidence["values"] == values


def test_v2s_table_is_stable_and_overfits_after_epoch_15():
    verdict = judge([5, 10, 15, 20, 30], [0.784, 0.814, 0.824, 0.818, 0.781])
    assert verdict.status == "stable"
    assert verdict.note == "overfitting after epoch 15"


def test_a_sunken_tail_is_a_collapse():
    assert judge(range(8), [0.2, 0.5, 0.6, 0.6, 0.5, 0.3, 0.3, 0.3]).status == "collapsed"


def test_a_bad_start_is_not():
    assert judge(range(8), [0.01, 0.2, 0.4, 0.5, 0.55, 0.6, 0.6, 0.61]).status == "stable"


def test_not_above_the_floor_is_no_learning():
    verdict = judge(range(5), [0.08, 0.09, 0.1, 0.1, 0.1], floor=0.1)
    assert verdict.status == "no learning"


def test_a_loss_that_is_not_finite():
    verdict = judge(range(3), [0.1, 0.2, 0.3], losses=[1.0, math.nan, 1.0])
    assert verdict.status == "diverged"
    assert "epoch 1" in verdict.reason


def test_a_spike_alone_is_forgiven_and_with_a_doubled_loss_is_not():
    values, spikes = [0.1, 0.2, 0.3, 0.3, 0.3], [1, 1, 500, 1, 1]
    assert judge(range(5), values, losses=[2, 1, 1, 1, 1], spikes=spikes).status == "stable"
    assert judge(range(5), values, losses=[2, 1, 2, 3, 3], spikes=spikes).status == "diverged"


def test_without_validation_it_does_not_apply():
    assert judge([], []).status == "not applicable"


@pytest.mark.parametrize("ceiling", [0.45, 0.7])
def test_healthy_noisy_curves_are_rarely_called_unstable(ceiling):
    rng = np.random.default_rng(0)
    epochs = np.arange(40)
    unstable = 0
    for _ in range(500):
        curve = ceiling * (1 - np.exp(-epochs / 6)) + 0.06 * rng.standard_normal(40)
        unstable += judge(epochs.tolist(), curve.clip(0, 1).tolist()).status != "stable"
    assert unstable / 500 < 0.02
