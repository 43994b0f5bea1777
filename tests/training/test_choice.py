"""The best few by a part of the validation set, of which the whole set chooses the one that is
scored: whatever happens in between, it is the same one."""

import itertools

import pytest
import torch
from training_support import Stop, train, weights

from benchbcss import interrupt
from benchbcss.errors import NonFiniteError
from benchbcss.io import begin_list, check
from benchbcss.training import loop
from benchbcss.training.trainer import Trainer

OPTIONS = {"every": 1, "candidates": 3}


def part(model):
    """A validation that depends on the weights alone, and jumps with every step."""
    return loop.Validation(float(torch.sin(900 * weights(model).double().sum())) / 2 + 0.5, {})


def on_whole(model):
    """It turns the order round."""
    return loop.Validation(1 - part(model).mean, {})


class Watched:
    """A validation that keeps the weights it was given, and stops where it is told."""

    def __init__(self, validate, stop_at=None):
        self.validate, self.stop_at, self.seen = validate, stop_at, []

    def __call__(self, model):
        if len(self.seen) == self.stop_at:
            raise Stop
        self.seen.append(weights(model).clone())
        return self.validate(model)


@pytest.fixture(params=[0.0, 3600.0], ids=["saves-each-epoch", "saves-at-the-end"])
def whole(request, folder, tmp_path, monkeypatch):
    """An undisturbed training in ``run``, and what it validated on the whole set."""
    monkeypatch.setattr(Trainer, "checkpoint_every", request.param)
    (tmp_path / "run").mkdir()
    begin_list(tmp_path / "run")
    on_all = Watched(on_whole)
    model, history = train(
        folder, tmp_path, "run", 16, validate=part, validate_whole=on_all, **OPTIONS
    )
    return weights(model), history, on_all


def same(history, other):
    assert other.whole == history.whole
    assert other.candidates == history.candidates
    assert (other.best, other.best_step) == (history.best, history.best_step)


def test_the_best_by_the_whole_set_is_scored(whole):
    left, history, on_all = whole
    values = {r["step"]: r["val_monitored"] for r in history.records}
    best = sorted(values, key=lambda step: -values[step])[:3]
    assert [entry["step"] for entry in history.whole] == best
    assert [entry["watched"] for entry in history.whole] == [values[step] for step in best]
    assert len(on_all.seen) == 3
    chosen = max(history.whole, key=lambda entry: entry["val_mean_dice"])
    assert history.best_step == chosen["step"] == best[2]
    assert history.best == chosen["val_mean_dice"]
    assert torch.equal(left, on_all.seen[history.whole.index(chosen)])


def test_what_is_kept_is_what_may_be_scored(whole, tmp_path):
    paths = list((tmp_path / "run" / "checkpoints").iterdir())
    assert sum(path.stem.startswith("best") for path in paths) <= 6  # of two states
    for path in paths:
        assert check(path) == "ok", path


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_kill_between_whole_validations(folder, tmp_path, whole, done):
    """What was validated by then is not validated again."""
    left, history, on_all = whole
    (tmp_path / "torn").mkdir()
    begin_list(tmp_path / "torn")
    torn = {"validate": part, **OPTIONS}
    with pytest.raises(Stop):
        train(folder, tmp_path, "torn", 16, validate_whole=Watched(on_whole, done), **torn)
    begin_list(tmp_path / "torn")
    again = Watched(on_whole)
    model, resumed = train(folder, tmp_path, "torn", 16, validate_whole=again, **torn)
    assert torch.equal(weights(model), left)
    same(history, resumed)
    assert [w.tolist() for w in again.seen] == [w.tolist() for w in on_all.seen[done:]]


@pytest.mark.parametrize("epoch", [0, 3, 6, 7])
def test_a_kill_after_any_epoch(folder, tmp_path, monkeypatch, epoch):
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)
    both = {"validate": part, "validate_whole": on_whole, **OPTIONS}
    expected, history = train(folder, tmp_path, "whole", 16, **both)
    (tmp_path / "torn").mkdir()
    begin_list(tmp_path / "torn")

    def kill(record):
        if record["epoch"] == epoch:
            raise Stop

    with pytest.raises(Stop):
        train(folder, tmp_path, "torn", 16, on_epoch=kill, **both)
    begin_list(tmp_path / "torn")
    model, again = train(folder, tmp_path, "torn", 16, **both)
    assert torch.equal(weights(model), weights(expected))
    same(history, again)


@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_bytes(b"torn")])
@pytest.mark.parametrize("name", ["best", "best-*", "last", "whole"])
def test_damage_is_made_good(folder, tmp_path, whole, harm, name):
    left, history, _ = whole
    paths = list((tmp_path / "run" / "checkpoints").glob(f"{name}.*"))
    assert paths
    for path in paths:
        harm(path)
    begin_list(tmp_path / "run")
    both = {"validate": part, "validate_whole": on_whole, **OPTIONS}
    model, again = train(folder, tmp_path, "run", 16, **both)
    assert torch.equal(weights(model), left)
    same(history, again)
    assert [r["epoch"] for r in again.records] == list(range(8))


def test_a_request_to_stop_is_obeyed_between_whole_validations(folder, tmp_path, monkeypatch):
    both = {"validate": part, **OPTIONS}
    on_all = Watched(on_whole)
    with monkeypatch.context() as patch:
        patch.setattr(interrupt, "asked", lambda: len(on_all.seen) == 1)
        with pytest.raises(interrupt.StopRequested):
            train(folder, tmp_path, "run", 16, validate_whole=on_all, **both)
    assert len(on_all.seen) == 1
    _, history = train(folder, tmp_path, "run", 16, validate_whole=on_all, **both)
    assert len(on_all.seen) == len(history.whole) == 3


def test_of_equal_ones_the_better_by_the_part_is_scored(folder, tmp_path):
    values = iter([0.1, 0.2, 0.6, 0.4, 0.6])
    _, history = train(
        folder,
        tmp_path,
        "run",
        8,
        validate=lambda model: loop.Validation(next(values), {}),
        validate_whole=lambda model: loop.Validation(0.5, {}),
        **OPTIONS,
    )
    assert [entry["step"] for entry in history.whole] == [4, 8, 6]  # of equal ones the earlier
    assert history.best_step == 4


@pytest.mark.parametrize("ema", [None, 0.8])
@pytest.mark.parametrize("broken", [{0}, {1}, {0, 1, 2}])
def test_a_prediction_on_the_rest_of_the_set_that_is_not_finite(folder, tmp_path, broken, ema):
    """It ends the training as diverged, and another of the best is scored, if there is one."""
    calls = itertools.count()
    seen = []

    def validate_whole(model):
        seen.append(weights(model).clone())
        if next(calls) in broken:
            raise NonFiniteError("predict returned NaN or infinite logits")
        return on_whole(model)

    both = {"validate": part, "validate_whole": validate_whole, "ema": ema, **OPTIONS}
    model, history = train(folder, tmp_path, "run", 16, **both)
    first = history.whole[min(broken)]
    assert history.diverged["step"] == first["step"]
    assert "a prediction was not finite" in history.stopped
    valid = [entry for index, entry in enumerate(history.whole) if index not in broken]
    expected = max(valid, key=lambda entry: entry["val_monitored"]) if valid else history.whole[0]
    assert history.best_step == expected["step"]
    assert torch.equal(weights(model), seen[history.whole.index(expected)])
