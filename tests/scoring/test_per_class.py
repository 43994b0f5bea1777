"""The registered metrics are the scores of every result, and estimands of anyone's metric."""

import numpy as np
import pytest

from benchbcss import registry
from benchbcss.scoring import per_roi, per_roi_prompted, pooled, pooled_prompted
from benchbcss.scoring.per_class import estimands, one_against_rest

BUILT_IN = ("dice", "iou", "precision", "recall")


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 10**6, (7, 5, 5))
    table[2, 3] = 0  # absent from truth in one ROI
    table[:, 4] = 0  # absent everywhere
    table[1, :, 0] = 0  # never predicted in one ROI
    return table


@pytest.mark.parametrize("name", BUILT_IN)
def test_they_equal_the_semantic_scores_to_the_last_digit(name, counts):
    values = estimands(registry.load().metrics[name].load(), one_against_rest(counts))
    for estimand, score in (("pooled", pooled), ("per_roi", per_roi)):
        expected = getattr(score(counts, range(5)), name)
        np.testing.assert_array_equal(values[estimand], expected)


@pytest.mark.parametrize("name", BUILT_IN)
def test_they_equal_the_prompted_scores_to_the_last_digit(name, counts):
    quads = np.ascontiguousarray(one_against_rest(counts)[:, :4])
    values = estimands(registry.load().metrics[name].load(), quads)
    for estimand, score in (("pooled", pooled_prompted), ("per_roi", per_roi_prompted)):
        np.testing.assert_array_equal(values[estimand], getattr(score(quads), name))


def test_one_against_rest_keeps_every_pixel(counts):
    quads = one_against_rest(counts)
    assert quads.dtype == np.int64
    assert (quads.sum(-1) == counts.sum((1, 2))[:, None]).all()
    hit, false, missed, rest = quads[0, 1]
    table = counts[0]
    others = [0, 2, 3, 4]
    assert hit == table[1, 1]
    assert false == table[others, 1].sum()
    assert missed == table[1, others].sum()
    assert rest == table[np.ix_(others, others)].sum()


@pytest.mark.parametrize(
    "compute",
    [lambda c: c.sum(), lambda c: c[..., 0], lambda c: np.zeros(c.shape[0]), lambda c: None],
)
def test_a_metric_of_another_shape_or_type_is_refused(compute, counts):
    with pytest.raises(ValueError, match="one value per ROI and class"):
        estimands(compute, counts)


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_was_given_no_class_is_missed(name, counts):
    """A column more than rows: in no class's predictions, in its true class's pixels."""
    wider = np.concatenate([counts, np.full((7, 5, 1), 1000)], 2)
    wider[2, 3], wider[:, 4] = 0, 0
    quads = one_against_rest(wider)
    assert (quads.sum(-1) == wider.sum((1, 2))[:, None]).all()
    assert (quads[..., 1] == one_against_rest(counts)[..., 1]).all()
    values = estimands(registry.load().metrics[name].load(), quads)
    for estimand, score in (("pooled", pooled), ("per_roi", per_roi)):
        np.testing.assert_array_equal(values[estimand], getattr(score(wider, range(5)), name))
