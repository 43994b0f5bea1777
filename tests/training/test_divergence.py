"""Divergence has one outcome, whatever was not finite and whenever it happened."""

import json
import math

import pytest
import torch
from training_support import Stop, Tiny, train, weights

from benchbcss.contract import Context, Task
from benchbcss.errors import NonFiniteError, PluginError
from benchbcss.inference.predictor import Predictor
from benchbcss.training import loop
from benchbcss.training.stability import Course, judge
from benchbcss.training.trainer import Trainer

FRESH = weights(Tiny(None, {}, None).build())
# Two steps are an epoch, and a validation comes every second one: after steps 4, 8 and 12.
EVERY = {"validate_every": 2}
AT = {"first": 0, "before a validation": 2, "in mid-epoch": 3, "after a validation": 5}


@pytest.fixture(autouse=True)
def _checkpoint_every_epoch(monkeypatch):
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)


class Poison(torch.autograd.Function):
    """Harmless forwards, not a number backwards."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


def broken(what, step, value=math.nan):
    """A backend whose loss or gradient breaks at ``step``."""

    class Broken(Tiny):
        def loss(self, model, batch):
            term = super().loss(model, batch)["ce"]
            if batch.step == step:
                term = term * value if what == "loss" else Poison.apply(term)
            return {"ce": term}

    return Broken


class Watch:
    """Validation by the real predictor: Dice rises, and weights are remembered."""

    def __init__(self, broken_at=None):
        self.seen, self.broken_at = [], broken_at

    def __call__(self, model):
        self.seen.append(weights(model).clone())
        backend = Tiny(TASK, {}, Context(0, torch.device("cpu"), "none", False, [1] * 6))
        if len(self.seen) - 1 == self.broken_at:
            backend.predict = lambda model, image: model(image) / 0
        image = (255 * torch.rand(40, 40, 3)).byte().numpy()
        Predictor(backend, model, None, 32, 8, 32, torch.device("cpu")).semantic(image)
        return loop.Validation(0.1 * len(self.seen), {})


TASK = Task(("a", "b", "c", "d", "e", "f"), (0, 1), 0.3, 32)


def assert_diverged(history, model, validate, what, step, log):
    """The outcome that all have in common."""
    assert history.diverged["what"] == what
    assert history.diverged["step"] == step
    assert history.stopped == history.diverged["reason"]
    assert f"{what} was not finite at step {step}" in history.stopped
    verdict = judge(Course.of(history))
    assert verdict.status == "diverged"
    assert f"at step {step}" in verdict.reason
    if history.best is None:
        assert history.scored == "start"
        assert torch.equal(weights(model), FRESH)
        assert "weights as loaded are scored" in verdict.reason
    else:
        assert history.scored == "best"
        assert torch.equal(weights(model), validate.seen[history.best_step // 4])
        assert "best checkpoint is scored" in verdict.reason
    assert torch.isfinite(weights(model)).all()
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({record["epoch"] for record in logged}) == len(logged)
    json.dumps(verdict.evidence, allow_nan=False)
    return logged


@pytest.mark.parametrize("when", AT)
@pytest.mark.parametrize("what", ["the loss", "a gradient"])
@pytest.mark.parametrize("settings", [{}, {"ema": 0.5}, {"accumulate": 2}])
def test_a_loss_or_gradient_that_is_not_finite(folder, tmp_path, what, when, settings):
    step = AT[when] if "accumulate" not in settings else AT[when] // 2
    every = {"validate_every": 4 if "accumulate" in settings else 2}  # then a step is an epoch
    validate = Watch()
    model, history = train(
        folder,
        tmp_path,
        "run",
        backend=broken(what.split()[1], step),
        validate=validate,
        **every,
        **settings,
    )
    log = tmp_path / "run" / "epochs.jsonl"
    logged = assert_diverged(history, model, validate, what, step, log)
    assert logged[-1]["finite"] is False
    assert all(record["finite"] for record in logged[:-1])
    assert logged[-1]["step"] == step
    assert (history.best is not None) == (
        when == "after a validation" and not settings.get("accumulate")
    )
    assert len(validate.seen) == 1 + (history.best is not None)  # nothing is validated afterwards


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_infinity_is_not_finite_either(folder, tmp_path, value):
    validate = Watch()
    model, history = train(
        folder, tmp_path, "run", backend=broken("loss", 0, value), validate=validate, **EVERY
    )
    assert_diverged(history, model, validate, "the loss", 0, tmp_path / "run" / "epochs.jsonl")


def test_the_first_of_several_micro_batches_counts(folder, tmp_path):
    calls = []

    class Once(Tiny):
        def loss(self, model, batch):
            calls.append(batch)
            return {"ce": super().loss(model, batch)["ce"] * (math.nan if len(calls) == 3 else 1)}

    _, history = train(folder, tmp_path, "run", backend=Once, accumulate=2)
    assert history.diverged["what"] == "the loss"
    assert history.diverged["step"] == 1


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_prediction_that_is_not_finite(folder, tmp_path, number):
    """Of validation ``number``; 0 is the one before the first step."""
    validate = Watch(broken_at=number)
    model, history = train(folder, tmp_path, "run", validate=validate, **EVERY)
    log = tmp_path / "run" / "epochs.jsonl"
    logged = assert_diverged(history, model, validate, "a prediction", 4 * number, log)
    assert "predict returned NaN or infinite logits" in history.stopped
    assert len(validate.seen) == number + 1
    assert len(logged) == 2 * number
    if number:
        assert logged[-1]["finite"] is False
        assert "val_mean_dice" not in logged[-1]
    else:
        assert history.start is None


def test_weights_that_overflow_are_found_without_a_validation(folder, tmp_path):
    """In the last step, nothing else would notice before they are scored."""

    class Leaps(Tiny):
        def loss(self, model, batch):
            terms = super().loss(model, batch)
            if batch.step == 11:
                model[2].bias.data[0] = math.inf
            return terms

    model, history = train(folder, tmp_path, "run", backend=Leaps, steps=12)
    assert history.diverged["what"] == "a weight"
    assert torch.equal(weights(model), FRESH)
    assert judge(Course.of(history)).status == "diverged"


def test_without_a_validation_set_the_start_is_scored(folder, tmp_path):
    model, history = train(folder, tmp_path, "run", backend=broken("loss", 5))
    assert history.scored == "start"
    assert torch.equal(weights(model), FRESH)


def test_no_step_is_taken_along_a_gradient_that_is_not_finite(folder, tmp_path, monkeypatch):
    steps = []
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda *given: (steps.append(1), update(*given))[1])
    train(folder, tmp_path, "run", backend=broken("gradient", 3))
    assert len(steps) == 3


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_run_that_diverged_is_resumed_to_the_same_end(folder, tmp_path, what):
    """Killed after the divergence was saved, or in the middle of it."""
    options = {"backend": broken(what, 5), **EVERY}
    whole, history = train(folder, tmp_path, "whole", validate=Watch(), **options)

    def interrupt(record):
        if not record["finite"]:
            raise Stop

    with pytest.raises(Stop):
        train(folder, tmp_path, "torn", validate=Watch(), on_epoch=interrupt, **options)
    for _ in range(2):
        resumed, again = train(folder, tmp_path, "torn", validate=Watch(), **options)
        assert torch.equal(weights(whole), weights(resumed))
        assert again.diverged == history.diverged
        assert again.scored == history.scored == "best"
        log = (tmp_path / "torn" / "epochs.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in log] == [0, 1, 2]


def test_other_errors_of_a_plugin_are_still_errors(folder, tmp_path):
    def validate(model):
        raise PluginError("predict returned shape (1, 2)")

    with pytest.raises(PluginError, match="returned shape"):
        train(folder, tmp_path, "run", validate=validate)
    assert issubclass(NonFiniteError, PluginError)
