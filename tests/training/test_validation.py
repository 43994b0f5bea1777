"""How much is validated: within the share of forward passes that the recipe allows."""

import math
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbcss.recipes import Train
from benchbcss.suites import Budget
from benchbcss.training.schedule import plan
from benchbcss.training.validation import FEWEST_ROIS, USUAL, covering, ordered, schedule

BCSS = {f"roi{number:02}": 35 for number in range(21)}  # of 85 ROIs to train on: the split 'brief'


def recipe(**options):
    return Train.model_validate({"lr": 1e-3, "batch_size": 8, **options})


def scheduled(train, passes, training=85, **budget):
    planned = plan(train, Budget(**budget), training)
    return schedule(train, planned, passes, sorted(passes)), planned


def by_hand(train, planned, made):
    """The share, by going through the epochs as the loop does."""
    validation, step, epoch = made.passes, 0, 0  # of the start
    while step < planned.steps:
        step = min(planned.steps, step + planned.steps_per_epoch)
        epoch += 1
        if epoch % made.every == 0 or step == planned.steps:
            validation += made.passes
    validation += made.best * made.whole
    training = 3 * planned.batch_size * train.accumulate * planned.steps
    return validation / (validation + training)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("every", [1, 10])
def test_what_fits_is_left_as_it_is(every, accumulate):
    train = recipe(validate_every=every, accumulate=accumulate)
    made, planned = scheduled(train, {"a": 3, "b": 4, "c": 1}, epochs=20)
    assert made.rois == ("a", "b", "c")
    assert (made.every, made.best, made.passes) == (every, 0, 8)
    assert made.share == pytest.approx(by_hand(train, planned, made))


def test_a_dense_training_on_bcss_keeps_to_a_quarter():
    train = recipe()
    made, planned = scheduled(train, BCSS, epochs=100)
    assert (len(made.rois), made.of, made.every, made.best) == (7, 21, 5, 3)
    assert made.share == pytest.approx(by_hand(train, planned, made))
    assert 0.2 < made.share <= 0.25
    assert made.sentence() == (
        "7 of 21 ROIs every 5 epochs while training (23 % of compute), all of them for the best 3"
    )
    before, _ = scheduled(recipe(validation={"share": 1}), BCSS, epochs=100)
    assert before.rois == tuple(BCSS)
    assert before.share == pytest.approx(101 * 735 / (101 * 735 + 3 * 8 * 1000))
    assert before.sentence() == "all 21 ROIs every epoch while training (76 % of compute)"


def test_a_prompted_training_on_bcss_stays_as_it_was():
    train = recipe(batch_size=6, budget="recipe", epochs=40)
    made, _ = scheduled(train, dict.fromkeys(BCSS, 1), epochs=100)
    assert (made.rois, made.every, made.best) == (tuple(BCSS), 1, 0)


def test_the_whole_set_is_validated_less_often_where_that_suffices():
    made, _ = scheduled(recipe(), dict.fromkeys(BCSS, 5), epochs=100)
    assert made.rois == tuple(BCSS)
    assert made.best == 0  # whole validations need no second
    assert made.every > 1
    assert math.ceil(100 / made.every) >= USUAL


sizes = st.lists(st.integers(1, 90), min_size=1, max_size=25)


@settings(deadline=None, max_examples=150)
@given(
    sizes=sizes,
    epochs=st.integers(1, 150),
    every=st.integers(1, 12),
    share=st.floats(0.02, 1),
    best=st.integers(1, 5),
    batch=st.integers(1, 9),
)
def test_the_share_is_kept_wherever_anything_keeps_to_it(sizes, epochs, every, share, best, batch):
    passes = {f"roi{number:02}": cost for number, cost in enumerate(sizes)}
    options = {"validate_every": every, "validation": {"share": share, "best": best}}
    train = recipe(batch_size=batch, **options)
    made, planned = scheduled(train, passes, training=20, epochs=epochs)
    assert made.share == pytest.approx(by_hand(train, planned, made))
    assert made.passes == sum(passes[name] for name in made.rois)
    assert list(made.rois) == [name for name in passes if name in made.rois]  # in their order
    assert len(made.rois) >= min(FEWEST_ROIS, len(passes))
    assert made.best <= best
    assert (made.best == 0) == (len(made.rois) == len(passes))
    if made.share > share:  # then it is the least that there is
        assert made.every >= epochs
        assert made.best <= 1
        assert len(made.rois) == min(FEWEST_ROIS, len(passes))
        assert "too short" in made.sentence()
    else:
        assert made.every % every == 0
        assert "too short" not in made.sentence()


@pytest.mark.parametrize("epochs", [None, 100])
def test_where_a_clock_ends_training_the_share_is_that_of_an_epoch(epochs):
    train = recipe()
    made, planned = scheduled(train, BCSS, epochs=epochs, seconds=60)
    per_epoch = made.passes / made.every
    assert made.share == pytest.approx(per_epoch / (per_epoch + 3 * 8 * planned.steps_per_epoch))
    assert made.share <= 0.25
    assert made.best == 3
    few, _ = scheduled(train, dict.fromkeys(BCSS, 1), seconds=60)
    assert (few.rois, few.every) == (tuple(BCSS), 1)


def many():
    """40 ROIs of 5 institutes: everyone has stroma, every tenth vessel, one necrosis."""
    classes = {}
    for number in range(40):
        present = {"stroma"}
        present |= {"vessel"} if number % 10 == 3 else set()
        present |= {"necrosis"} if number == 17 else set()
        classes[f"{number:02}"] = frozenset(present)
    return classes, {name: "ABCDE"[int(name) % 5] for name in classes}


@pytest.mark.parametrize("seed", range(5))
def test_every_beginning_of_the_order_is_a_fair_part(seed):
    classes, institutes = many()
    order = ordered(classes, institutes, seed)
    assert sorted(order) == sorted(classes)
    assert frozenset().union(*(classes[name] for name in order[:3])) == {
        *("stroma", "vessel", "necrosis")
    }
    assert len({institutes[name] for name in order[:7]}) >= 4
    vessels = [place for place, name in enumerate(order) if "vessel" in classes[name]]
    assert vessels[-1] < 10  # once more in every round, while there are any


def test_the_order_is_that_of_the_seed():
    classes, institutes = many()
    first = ordered(classes, institutes, 1)
    assert ordered(dict(reversed(classes.items())), institutes, 1) == first
    assert ordered(classes, institutes, 2) != first


def test_a_part_has_every_class_however_many_there_are():
    """Each ROI has a class of its own: only the last one completes them, and all are validated."""
    classes = {name: frozenset({f"class {name}"}) for name in [*BCSS][:11]}
    classes |= {name: frozenset({"stroma"}) for name in [*BCSS][11:]}
    order = ordered(classes, dict.fromkeys(classes, "?"), 0)
    assert covering(order, classes) == 12
    train = recipe(validation={"share": 0.2})
    planned = plan(train, Budget(epochs=60), 85)
    made = schedule(train, planned, BCSS, order, covering(order, classes))
    assert {name for roi in made.rois for name in classes[roi]} == {
        name for present in classes.values() for name in present
    }
    assert 12 <= len(made.rois) < 21
    assert made.share <= 0.2
    assert covering(order, dict.fromkeys(classes, frozenset())) == 0


def test_rois_without_a_class_come_last():
    classes = {"a": frozenset(), "b": frozenset("x"), "c": frozenset(), "d": frozenset("x")}
    order = ordered(classes, dict.fromkeys(classes, "?"), 0)
    assert set(order[:2]) == {"b", "d"}


def test_it_is_planned_without_torch():
    code = "import sys, benchbcss.training.validation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("share", [1e-7, 1e-300])
def test_a_share_that_no_validation_fits_is_found_at_once(share):
    """Where a clock ends training, rarer validations were tried one after the other."""
    train = recipe(validation={"share": share})
    planned = plan(train, Budget(seconds=60), 10)
    begun = time.perf_counter()
    made = schedule(train, planned, {"a": 9, "b": 9}, ["b", "a"])
    assert time.perf_counter() - begun < 1
    assert made.every == planned.epochs
