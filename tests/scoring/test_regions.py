import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from benchbcss.scoring.metrics import region_accuracy
from benchbcss.scoring.regions import region_score


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    true, chosen = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    rois = [f"roi{i % 20}" for i in range(60)]  # an interval needs 13 effective ROIs
    result = region_score(rois, true, chosen, 4)
    assert result.accuracy == pytest.approx((true == chosen).mean())
    assert result.balanced == pytest.approx(balanced_accuracy_score(true, chosen))
    assert result.confusion.sum() == result.regions == 60
    low, high = result.interval
    assert low <= result.accuracy <= high


def test_an_empty_prediction_counts_as_wrong():
    result = region_score(["a", "a", "b"], [0, 1, 1], [0, -1, 1], 2)
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.confusion.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_one_roi_has_no_interval():
    assert region_score(["a", "a"], [0, 1], [0, 0], 2).interval is None


def test_region_accuracy_is_the_majority_label_of_each_true_region():
    counts = np.zeros((2, 3, 3), np.int64)
    counts[0, 0] = [5, 4, 0]  # right
    counts[0, 1] = [4, 3, 0]  # wrong
    counts[1, 0] = [1, 2, 3]  # wrong: mostly 'other'
    counts[1, 2] = [9, 0, 0]  # not a class of the mean
    assert region_accuracy(counts, (0, 1)) == {"accuracy": 1 / 3, "regions": 3}
