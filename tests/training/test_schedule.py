import math

import pytest

from benchbcss.recipes import Train, resolve
from benchbcss.suites import Budget
from benchbcss.training.schedule import group_rates, learning_rate, plan, remarks

V3 = resolve("benchbcss_sam2:sam2_v3.yaml", "full").train


def test_85_rois_at_batch_6_are_14_steps():
    found = plan(V3, Budget(epochs=100), 85)
    assert (found.steps_per_epoch, found.epochs, found.steps) == (14, 40, 560)
    assert found.budget == "recipe"


def test_dense_backends_share_the_suites_budget():
    train = Train(lr=1e-3, batch_size=4)
    assert plan(train, Budget(steps=300), 14).steps == 300
    assert plan(train, Budget(epochs=10), 14).steps == 30
    assert plan(train, Budget(epochs=10), 3).batch_size == 3  # fewer ROIs than a batch


def test_v3s_learning_rate_at_its_key_steps():
    total = 560
    assert learning_rate(V3, 0, total) == 0
    assert learning_rate(V3, 125, total) == pytest.approx(4e-5)
    assert learning_rate(V3, 250, total) == pytest.approx(8e-5)
    half = 250 + (total - 1 - 250) / 2
    middle = (
        learning_rate(V3, math.floor(half), total) + learning_rate(V3, math.ceil(half), total)
    ) / 2
    assert middle == pytest.approx((8e-5 + 1e-6) / 2, rel=1e-3)
    assert learning_rate(V3, total - 1, total) == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("epoch", "early", "late"),
    [(0, 0, 0), (10, 0, 0), (11, 0, 6e-6), (25, 0, 6e-6), (26, 6e-7, 6e-7), (39, 6e-7, 6e-7)],
)
def test_v3_thaws_its_encoder(epoch, early, late):
    groups = ["encoder_stages12", "encoder_stages34", "encoder_neck", "decoder"]
    rates = group_rates(V3, groups, epoch * 14 + 3, plan(V3, Budget(epochs=1), 85))
    assert rates["encoder_stages12"] == early
    assert rates["encoder_stages34"] == late
    assert rates["decoder"] > 0


@pytest.mark.parametrize(
    ("rois", "settings", "words"),
    [
        (85, {"batch_size": 4, "warmup_steps": 99}, []),
        (3, {"batch_size": 4}, ["a step takes 3 samples instead of 4"]),
        (6, {"batch_size": 2, "accumulate": 4}, ["a step takes 6 samples instead of 8"]),
        (85, {"batch_size": 4, "warmup_steps": 100}, ["reaches 0.00099 of 0.001"]),
        (85, {"batch_size": 4, "warmup_steps": 200}, ["reaches 0.000495 of 0.001"]),
    ],
)
def test_what_a_short_training_makes_of_a_recipe_is_said(rois, settings, words):
    train = Train(lr=1e-3, **settings)
    said = remarks(train, plan(train, Budget(steps=100), rois))
    assert len(said) == len(words)
    assert all(word in text for word, text in zip(words, said, strict=True))


def test_a_clock_ends_no_warmup_early():
    train = Train(lr=1e-3, batch_size=4, warmup_steps=100)
    assert not remarks(train, plan(train, Budget(seconds=60), 85))
