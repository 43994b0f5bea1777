import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from benchbcss.scoring import confusion_counts, pair_counts, per_roi, per_roi_prompted, pooled
from benchbcss.scoring import metrics as m
from benchbcss.scoring.metrics import Triple

# Two ROIs, three classes; class 2 is absent from the second ROI but predicted there.
HAND = np.array(
    [
        [[6, 2, 0], [1, 3, 0], [0, 2, 2]],
        [[4, 0, 1], [2, 2, 0], [0, 0, 0]],
    ]
)


def test_by_hand_with_an_absent_class():
    first = [2 * 6 / (8 + 7), 2 * 3 / (4 + 7), 2 * 2 / (4 + 2)]
    second = [2 * 4 / (5 + 6), 2 * 2 / (4 + 2)]
    score = per_roi(HAND, (0, 1, 2))
    assert score.dice == pytest.approx(
        [(first[0] + second[0]) / 2, (first[1] + second[1]) / 2, first[2]]
    )
    assert score.mean == pytest.approx(np.mean(score.dice))
    total = pooled(HAND, (0, 1, 2))
    assert total.dice == pytest.approx([2 * 10 / (13 + 13), 2 * 5 / (8 + 9), 2 * 2 / (4 + 3)])
    assert total.recall == pytest.approx([10 / 13, 5 / 8, 2 / 4])
    assert total.precision == pytest.approx([10 / 13, 5 / 9, 2 / 3])
    assert total.iou == pytest.approx([10 / 16, 5 / 12, 2 / 5])


def test_a_class_without_ground_truth_is_undefined_whatever_is_predicted():
    counts = np.array([[[5, 0, 3], [0, 4, 1], [0, 0, 0]]])
    for score in (pooled(counts, (0, 1, 2)), per_roi(counts, (0, 1, 2))):
        assert np.isnan(score.dice[2])
        assert (score.defined, score.of) == (2, 3)
        assert score.mean == pytest.approx(np.mean(score.dice[:2]))


def test_no_class_at_all_has_no_mean():
    assert np.isnan(pooled(np.zeros((2, 3, 3), int), (0, 1)).mean)


@pytest.mark.parametrize("seed", range(5))
def test_pooled_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 4, 500).astype(np.uint8)
    prediction = np.where(rng.random(500) < 0.6, target, rng.integers(0, 4, 500)).astype(np.uint8)
    counts = confusion_counts(target[None], prediction[None], 4)[None]
    score = pooled(counts, range(4))
    options = {"average": None, "labels": range(4)}
    assert score.dice == pytest.approx(f1_score(target, prediction, **options))
    assert score.iou == pytest.approx(jaccard_score(target, prediction, **options))
    assert score.precision == pytest.approx(precision_score(target, prediction, **options))
    assert score.recall == pytest.approx(recall_score(target, prediction, **options))


def test_order_of_rois_and_of_classes_does_not_matter():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 50, (5, 4, 4))
    order = [2, 0, 3, 1]
    swapped = counts[::-1][:, order][:, :, order]
    for estimate in (pooled, per_roi):
        a, b = estimate(counts, range(4)), estimate(swapped, range(4))
        assert b.dice == pytest.approx(a.dice[order])
        assert b.mean == pytest.approx(a.mean)


def test_prompted_counts():
    counts = np.array([[[6, 1, 2, 91], [0, 0, 0, 0]], [[4, 2, 1, 93], [3, 3, 0, 94]]])
    score = per_roi_prompted(counts)
    assert score.dice == pytest.approx([(12 / 15 + 8 / 11) / 2, 6 / 9])


def test_conventions_differ_where_classes_are_absent():
    table = m.convention_table(Triple.of_confusion(HAND), (0, 1, 2))
    # class 2, second ROI: nothing there, one pixel predicted: 0 in all three
    present = 2 * 2 / (4 + 2)
    for name in ("nan", "one", "zero"):
        assert table[f"both_empty_{name}"]["dice"][2] == pytest.approx(present / 2)
    clean = HAND.copy()
    clean[1, 0] = [5, 0, 0]
    table = m.convention_table(Triple.of_confusion(clean), (0, 1, 2))
    values = [table[f"both_empty_{n}"]["dice"][2] for n in ("nan", "one", "zero")]
    assert values == pytest.approx([present, (present + 1) / 2, present / 2])


def test_micro_is_the_mean_over_pairs_in_truth():
    dice = m.dice_of(Triple.of_confusion(HAND))
    table = m.convention_table(Triple.of_confusion(HAND), (0, 1, 2))
    assert table["micro"]["mean"] == pytest.approx(np.nanmean(dice))


def test_painting_tissue_everywhere_has_no_skill():
    target = np.array([[0, 0, 0, 1, 1, 2, 255, 255]], np.uint8)  # 2 is 'other'
    painter = pair_counts(target, np.zeros_like(target), 3)[None]
    result = m.tissue_dice(painter, (0, 1), 0.3)
    assert result["dice"] == pytest.approx(2 * 5 / (5 + 8))
    assert result["skill"] == pytest.approx(0)
    assert "painting tissue everywhere" in result["warning"]


def test_the_trap_of_the_brief_is_said_in_words():
    target = np.array([[0] * 10 + [1] * 10 + [2] * 20], np.uint8)
    swapped = np.array([[1] * 10 + [0] * 10 + [2] * 20], np.uint8)
    pairs = pair_counts(target, swapped, 3)[None]
    result = m.tissue_dice(pairs, (0, 1), pooled(pairs[:, :-1], (0, 1)).mean)
    assert result["dice"] == 1.0
    assert result["warning"] == "it looks like 1.00 because tissue is easy; per class it is 0.00"


def test_most_confused_pairs_in_words():
    counts = np.array([[[8, 2, 0], [0, 10, 0], [5, 0, 5]]])
    table = m.confusion_table(counts, ("tumor", "stroma", "vessel"))
    assert table["most_confused"] == [
        "50% of vessel was called tumor",
        "20% of tumor was called stroma",
    ]
    assert table["by_truth"][2] == pytest.approx([0.5, 0, 0.5])
    assert table["by_prediction"][:, 0] == pytest.approx([8 / 13, 0, 5 / 13])


def test_spread_names_the_worst_rois_and_the_institutes():
    result = m.spread(Triple.of_confusion(HAND), (0, 1), ["a.png", "b.png"], ["OL", "OL"])
    assert [item["roi"] for item in result["worst"]] == ["a.png", "b.png"]
    assert result["institutes"]["OL"]["rois"] == 2
    assert result["classes"][2]["rois"] == 1
    assert result["classes"][2]["sd"] is None


def test_no_class_is_in_every_metric_a_miss():
    """[ROI, K, K + 1]: of ten tumor pixels five were given no class, of ten stroma one."""
    counts = np.array([[[5, 0, 5], [1, 8, 1]]])
    score = pooled(counts, (0, 1))
    assert score.recall == pytest.approx([0.5, 0.8])
    assert score.precision == pytest.approx([5 / 6, 1.0])
    assert score.dice == pytest.approx([10 / 16, 16 / 18])
    table = m.confusion_table(counts, ("tumor", "stroma"))
    assert table["most_confused"] == [
        "50% of tumor was given no class",
        "10% of stroma was called tumor",
        "10% of stroma was given no class",
    ]
    assert m.region_accuracy(np.array([[[4, 0, 6], [0, 9, 1]]]), (0, 1))["accuracy"] == 0.5


def test_painting_less_tissue_by_abstaining_lowers_tissue_dice():
    target = np.array([[0] * 4 + [1] * 4 + [2] * 4], np.uint8)
    whole = pair_counts(target, target, 3, abstaining=True)[None]
    silent = np.where(np.arange(12) < 2, np.uint8(255), target)
    part = pair_counts(target, silent, 3, abstaining=True)[None]
    assert m.tissue_dice(whole, (0, 1), 1.0)["dice"] == 1
    assert m.tissue_dice(part, (0, 1), 1.0)["dice"] == pytest.approx(2 * 6 / (8 + 6))
    assert m.tissue_dice(part, (0, 1), 1.0)["painter"] == m.tissue_dice(whole, (0, 1), 1)["painter"]


def test_per_roi_precision_is_over_the_rois_in_which_some_of_the_class_was_predicted():
    """As METHODOLOGY says. What was missed wholly counts in recall and Dice, as 0."""
    counts = np.array([[[6, 4], [2, 8]], [[0, 10], [0, 10]]])  # the second misses class 0
    score = per_roi(counts, (0, 1))
    assert score.precision[0] == pytest.approx(6 / 8)
    assert score.recall[0] == pytest.approx((6 / 10 + 0) / 2)
    assert score.dice[0] == pytest.approx((12 / 18 + 0) / 2)
    never = np.array([[[0, 10], [0, 10]]])
    assert np.isnan(per_roi(never, (0, 1)).precision[0])
    assert np.isnan(pooled(never, (0, 1)).precision[0])
