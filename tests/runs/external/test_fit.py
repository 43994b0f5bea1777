"""Whether another reading fits better: found where it is so, never suggested to an honest model."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchbcss.data.labels import label_map
from benchbcss.runs.external import fit
from benchbcss.runs.external.labels import by_codes, by_labels

LABELS = label_map("bcss5")
OTHERS = {"--labels labels": by_labels(LABELS), "--labels codes": by_codes(LABELS)}


def confusion(target, values):
    made = fit.Confusion(6)
    made.add(target, values)
    return made


def test_the_table_and_its_dice_equal_scikit_learns():
    rng = np.random.default_rng(0)
    target = rng.choice([0, 1, 2, 3, 4, 5, 255], (300, 40)).astype(np.uint8)
    values = rng.integers(0, 6, (300, 40)).astype(np.uint8)
    made = confusion(target, values)
    known = target != 255
    expected = f1_score(target[known], values[known], labels=range(6), average=None)
    assert fit.mean_dice(made.table, made.values, (0, 1, 2, 3, 4)) == pytest.approx(
        expected[:5].mean()
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_permutation_is_undone(seed):
    rng = np.random.default_rng(seed)
    target = rng.choice([0, 1, 2, 3, 4, 5, 255], (60, 40)).astype(np.uint8)
    order = rng.permutation(6).astype(np.uint8)
    made = confusion(target, order[np.where(target == 255, 5, target)])
    best = fit.permutation(made.table, LABELS.mean_classes)
    assert [best[int(order[label])] for label in range(6)] == list(range(6))
    text = fit.hint(made, OTHERS["--labels labels"], OTHERS, LABELS)
    assert (text is None) == (order.tolist() == list(range(6)))


def test_an_honest_model_is_never_told_to_permute():
    """However weak, as long as a class's label is its most frequent answer."""
    rng = np.random.default_rng(1)
    for _ in range(2000):
        pixels = rng.dirichlet(np.ones(6)) * 1e6
        shares = rng.dirichlet(np.ones(6), size=6)
        for label in range(6):
            most = shares[label].argmax()
            shares[label, [label, most]] = shares[label, [most, label]]
        table = (shares * pixels[:, None]).astype(np.int64)
        before = fit.mean_dice(table, range(6), LABELS.mean_classes)
        best = fit.permutation(table, LABELS.mean_classes)
        after = fit.mean_dice(table, [best.get(c, 255) for c in range(6)], LABELS.mean_classes)
        assert after - before < 0.04 < fit._thresholds()["gain"]


def test_noise_and_one_colour_get_no_hint():
    rng = np.random.default_rng(2)
    target = rng.integers(0, 6, (80, 80)).astype(np.uint8)
    for values in (rng.integers(0, 6, (80, 80)), np.full((80, 80), 3), np.full((80, 80), 5)):
        made = confusion(target, values.astype(np.uint8))
        assert fit.hint(made, OTHERS["--labels labels"], OTHERS, LABELS) is None
    empty = confusion(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    assert fit.hint(empty, OTHERS["--labels labels"], OTHERS, LABELS) is None


def test_labels_taken_for_codes_are_seen_too():
    target = np.random.default_rng(3).integers(0, 5, (40, 40)).astype(np.uint8)
    text = fit.hint(confusion(target, target), OTHERS["--labels codes"], OTHERS, LABELS)
    assert text is not None
    assert text.startswith("read with --labels labels")
