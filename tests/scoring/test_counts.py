import label_maps
import numpy as np
import pytest
import reference_scoring
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix

from benchbcss.scoring import Triple, binary_counts, confusion_counts, pair_counts
from benchbcss.scoring.metrics import dice_of


def maps(classes, shape=(23, 17), seed=0, ignore=True):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, shape, dtype=np.uint8)
    if ignore:
        target[rng.random(shape) < 0.2] = 255
    return target, rng.integers(0, classes, shape, dtype=np.uint8)


#: about each edge between two ways of counting
CLASSES = [1, 2, 6, 8, 9, 15, 16, 22, 31, 32, 33, 200, 255]


@pytest.mark.parametrize("classes", CLASSES)
def test_counts_equal_scikit_learn(classes):
    target, prediction = maps(classes)
    known = target != 255
    oracle = confusion_matrix(target[known], prediction[known], labels=range(classes))
    assert (confusion_counts(target, prediction, classes) == oracle).all()


def test_more_pixels_than_a_pass_holds():
    target, prediction = maps(6, (1030, 777))
    known = target != 255
    oracle = confusion_matrix(target[known], prediction[known], labels=range(6))
    counts = pair_counts(target, prediction, 6)
    assert counts.dtype == np.int64
    assert (counts[:-1] == oracle).all()
    assert (counts[-1] == np.bincount(prediction[~known], minlength=6)).all()


@given(
    arrays(np.uint8, (7, 11), elements=st.sampled_from([0, 1, 2, 255])),
    arrays(np.uint8, (7, 11), elements=st.integers(0, 2)),
    st.permutations(range(7)),
)
@settings(max_examples=60, deadline=None)
def test_additive_and_blind_to_order(target, prediction, order):
    whole = pair_counts(target, prediction, 3)
    parts = pair_counts(target[:4], prediction[:4], 3) + pair_counts(target[4:], prediction[4:], 3)
    assert (whole == parts).all()
    assert (whole == pair_counts(target[list(order)], prediction[list(order)], 3)).all()
    assert whole.sum() == target.size


def test_what_is_predicted_under_ignore_does_not_count():
    target, prediction = maps(5)
    other = np.where(target == 255, (prediction + 1) % 5, prediction).astype(np.uint8)
    assert (other != prediction).any()
    assert (confusion_counts(target, prediction, 5) == confusion_counts(target, other, 5)).all()


@pytest.mark.parametrize("value", [6, 7, 200])
def test_a_label_out_of_range_is_refused(value):
    target, prediction = maps(6)
    prediction[3, 4] = value
    with pytest.raises(ValueError, match=rf"1 pixel\(s\) outside labels 0\.\.5, such as {value}"):
        confusion_counts(target, prediction, 6)


@pytest.mark.parametrize("classes", [6, 15, 22])
@pytest.mark.parametrize("value", [32, 240, 254])
def test_a_target_that_is_neither_label_nor_ignored_is_refused(classes, value):
    target, prediction = maps(classes)
    target[0, 0] = value
    with pytest.raises(ValueError, match="neither a label nor ignored"):
        confusion_counts(target, prediction, classes)


@pytest.mark.parametrize(
    ("target", "prediction"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros((2, 3), np.int64), np.zeros((2, 3), np.uint8)),
    ],
)
def test_shapes_and_dtypes_are_checked(target, prediction):
    with pytest.raises(ValueError, match=r"must be"):
        pair_counts(target, prediction, 3)


@pytest.mark.parametrize("classes", [6, 22])
def test_memory_maps_are_read(tmp_path, classes):
    target, prediction = maps(classes)
    np.save(tmp_path / "t.npy", target)
    mapped = np.load(tmp_path / "t.npy", mmap_mode="r")
    expected = confusion_counts(target, prediction, classes)
    assert (confusion_counts(mapped, prediction, classes) == expected).all()


@settings(max_examples=60, deadline=None)
@given(label_maps.pairs(), st.sampled_from([4, 8, 9, 15, 16, 22, 254, 255]), st.booleans())
def test_counts_are_those_of_plain_pairs(maps, classes, abstaining):
    target, prediction = maps
    if abstaining:
        prediction = np.where(prediction == 2, 255, prediction).astype(np.uint8)
    ours = pair_counts(target, prediction, classes, abstaining)
    expected = reference_scoring.pair_counts(target, prediction, classes, abstaining)
    assert ours.tolist() == expected.tolist()
    assert ours.dtype == np.int64


@pytest.mark.parametrize("classes", [6, 15, 22, 31, 32])
@pytest.mark.parametrize("smooth", [0, 5])
def test_counts_on_threads(classes, smooth):
    rng = np.random.default_rng(0)
    maps = (label_maps.drawn(rng, (150, 150), smooth) for _ in range(2))
    target, prediction = (np.kron(small, np.ones((10, 10), np.uint8)) for small in maps)
    if not smooth:
        prediction = rng.integers(0, 4, target.shape, dtype=np.uint8)
    expected = reference_scoring.pair_counts(target, prediction, classes)
    assert (pair_counts(target, prediction, classes) == expected).all()


def test_binary_counts():
    target = np.array([[1, 1, 0, 0, 1]], bool)
    found = np.array([[1, 0, 1, 0, 1]], bool)
    valid = np.array([[1, 1, 1, 1, 0]], bool)
    assert binary_counts(target, found, valid).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("classes", CLASSES)
def test_no_class_is_a_miss_and_no_false_positive(classes):
    target, prediction = maps(classes)
    silent = np.random.default_rng(1).random(target.shape) < 0.3
    abstained = np.where(silent, np.uint8(255), prediction)
    counts = pair_counts(target, abstained, classes, abstaining=True)
    assert counts.shape == (classes + 1, classes + 1)
    known = target != 255
    oracle = confusion_matrix(
        target[known], np.where(silent, classes, prediction)[known], labels=range(classes + 1)
    )
    assert (counts[:-1] == oracle[:-1]).all()
    assert counts[-1, -1] == (silent & ~known).sum()
    part = Triple.of_confusion(counts[None, :-1])
    assert (part.true[0] == np.bincount(target[known], minlength=classes)).all()
    assert (part.predicted[0] == np.bincount(abstained[known & ~silent], minlength=classes)).all()


def test_without_abstention_the_counts_are_the_same():
    target, prediction = maps(6)
    counts = pair_counts(target, prediction, 6, abstaining=True)
    assert (counts[:, :-1] == pair_counts(target, prediction, 6)).all()
    assert not counts[:, -1].any()


@given(
    arrays(np.uint8, (6, 9), elements=st.sampled_from([0, 1, 2, 255])),
    arrays(np.uint8, (6, 9), elements=st.integers(0, 2)),
    arrays(bool, (6, 9)),
)
@settings(max_examples=80, deadline=None)
def test_abstaining_never_gains_where_the_answer_was_right(target, prediction, silent):
    """Nor is it more than not knowing: no score of the class that was hit can rise."""
    silent &= prediction == target
    before = pair_counts(target, prediction, 3)[None, :-1]
    abstained = np.where(silent, np.uint8(255), prediction)
    after = pair_counts(target, abstained, 3, abstaining=True)[None, :-1]
    old, new = (dice_of(Triple.of_confusion(counts)) for counts in (before, after))
    assert (np.isnan(old) == np.isnan(new)).all()
    assert (np.nan_to_num(new) <= np.nan_to_num(old)).all()


def test_255_is_refused_unless_it_is_asked_for():
    target, prediction = maps(6)
    prediction[0, 0] = 255
    with pytest.raises(ValueError, match=r"1 pixel\(s\) outside labels 0\.\.5, such as 255"):
        pair_counts(target, prediction, 6)
    prediction[0, 1] = 6
    with pytest.raises(ValueError, match=r"1 pixel\(s\) outside labels 0\.\.5, such as 6"):
        pair_counts(target, prediction, 6, abstaining=True)
