import numpy as np
import pytest

from benchbcss.scoring.bootstrap import draws_of, resample_weights
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
