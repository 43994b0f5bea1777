"""The state of a training: what is optimised, frozen, counted, logged and resumed."""

import json
from itertools import pairwise

import pytest
import torch
from accelerate import Accelerator
from training_support import Stop, Tiny, samples, train, weights

from benchbcss.contract import Context, Task
from benchbcss.errors import PluginError, RecipeError, RunError
from benchbcss.recipes import Train
from benchbcss.suites import Budget
from benchbcss.training.schedule import ever_trained, plan
from benchbcss.training.trainer import Trainer, trainable_groups

FREEZE_FIRST = [{"epoch": 0, "lr": {"first": 0.0}}]
THAW_FIRST = [*FREEZE_FIRST, {"epoch": 4, "lr": {"first": 1e-3}}]


class Frozen(Tiny):
    """A backend that freezes its encoder in ``build``."""

    def build(self):
        model = super().build()
        model[0].requires_grad_(False)
        return model


def trainer(folder, tmp_path, backend=Tiny, steps=12, **settings):
    data = samples(folder, tmp_path)
    recipe = Train.model_validate({"lr": 1e-2, "batch_size": 2, **settings})
    task = Task(data.labels.class_names, data.labels.mean_classes, 0.3, 32)
    made = backend(task, {}, Context(0, torch.device("cpu"), "none", False, [1] * 6))
    budget = plan(recipe, Budget(steps=steps), len(data))
    return Trainer(made, made.build(), recipe, budget, Accelerator(cpu=True), tmp_path, seed=7)


@pytest.mark.parametrize("unfreeze", [[], [{"epoch": 2, "lr": {"first": 1e-3}}]])
def test_what_a_backend_froze_stays_frozen(folder, tmp_path, unfreeze):
    fresh = Frozen(None, {}, None).build()
    model, _ = train(folder, tmp_path, "run", backend=Frozen, unfreeze=unfreeze)
    assert torch.equal(model[0].weight, fresh[0].weight)
    assert torch.equal(model[0].bias, fresh[0].bias)
    assert not any(parameter.requires_grad for parameter in model[0].parameters())
    assert not torch.equal(model[2].weight, fresh[2].weight)  # the rest has learnt


def test_what_a_backend_froze_is_not_optimised_and_not_counted(folder, tmp_path):
    state = trainer(folder, tmp_path, Frozen)
    encoder = {id(parameter) for parameter in state.model[0].parameters()}
    optimised = {id(p) for group in state.optimizer.param_groups for p in group["params"]}
    assert optimised == {id(parameter) for parameter in state.model[2].parameters()}
    assert not optimised & encoder
    assert state.trainable == sum(p.numel() for p in state.model[2].parameters())


def test_the_count_is_of_what_the_recipe_ever_trains(folder, tmp_path):
    last = 8 * 6 + 6
    everything = 3 * 8 * 9 + 8 + last
    assert trainer(folder, tmp_path).trainable == everything
    assert trainer(folder, tmp_path, unfreeze=FREEZE_FIRST).trainable == last
    assert trainer(folder, tmp_path, unfreeze=THAW_FIRST).trainable == everything
    too_short = trainer(folder, tmp_path, unfreeze=THAW_FIRST, steps=8)  # 4 epochs of 2 steps
    assert too_short.trainable == last


@pytest.mark.parametrize("unfreeze", [FREEZE_FIRST, THAW_FIRST])
@pytest.mark.parametrize("steps", [8, 12])
def test_the_count_agrees_with_what_moved(folder, tmp_path, unfreeze, steps):
    """Counted from the schedule, against parameters that differ after training."""
    fresh = Tiny(None, {}, None).build()
    model, _ = train(folder, tmp_path, "run", steps, unfreeze=unfreeze)
    moved = sum(
        p.numel()
        for p, old in zip(model.parameters(), fresh.parameters(), strict=True)
        if not torch.equal(p, old)
    )
    assert trainer(folder, tmp_path, unfreeze=unfreeze, steps=steps).trainable == moved


def test_only_groups_that_a_recipe_names_are_frozen(folder, tmp_path):
    """Also while warmup holds the others at rate 0."""
    state = trainer(folder, tmp_path, unfreeze=FREEZE_FIRST, warmup_steps=4)
    rates = state.set_rates()
    assert rates == {"first": 0.0, "last": 0.0}
    assert not any(p.requires_grad for p in state.model[0].parameters())
    assert all(p.requires_grad for p in state.model[2].parameters())


def test_a_network_with_nothing_to_train_is_refused(folder, tmp_path):
    class Stone(Tiny):
        def build(self):
            return super().build().requires_grad_(False)

    with pytest.raises(PluginError, match="no parameter is trainable"):
        trainer(folder, tmp_path, Stone)


def test_a_parameter_in_two_groups_is_refused():
    class Twice(Tiny):
        def parameter_groups(self, model):
            return {"a": list(model.parameters()), "b": list(model[0].parameters())}

    made = Twice(None, {}, None)
    with pytest.raises(PluginError, match="'b' is in two groups"):
        trainable_groups(made, made.build())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda model: list(model.parameters()), "returned a list, expected a dict"),
        (lambda model: None, "returned a NoneType, expected a dict"),
        (lambda model: {"a": ["0.weight"]}, "'a' holds a str, expected parameters"),
    ],
)
def test_groups_of_something_else_are_refused(given, words):
    class Odd(Tiny):
        def parameter_groups(self, model):
            return given(model)

    made = Odd(None, {}, None)
    with pytest.raises(PluginError, match=words):
        trainable_groups(made, made.build())


def test_a_group_may_be_any_iterable():
    class Lazy(Tiny):
        def parameter_groups(self, model):
            return {"all": iter(model.parameters())}

    made = Lazy(None, {}, None)
    model = made.build()
    assert len(trainable_groups(made, model)["all"]) == len(list(model.parameters()))


def test_stages_of_one_recipe_decide_what_is_ever_trained():
    def says(stages, epochs):
        recipe = Train.model_validate({"lr": 1, "batch_size": 1, "unfreeze": stages})
        return ever_trained(recipe, "first", plan(recipe, Budget(steps=epochs), 1))

    assert says([], 3)
    assert not says(FREEZE_FIRST, 3)
    assert says([{"epoch": 2, "lr": {"first": 0.0}}], 3)  # until epoch 2 it follows the schedule
    assert says([*FREEZE_FIRST, {"epoch": 2, "lr": {}}], 3)  # and from then on, here
    assert not says([*FREEZE_FIRST, {"epoch": 3, "lr": {}}], 3)  # never reached


def test_a_batch_that_processes_cannot_share_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(RunError, match="multiple of 3"):
        trainer(folder, tmp_path)


@pytest.mark.parametrize("checkpoint_every", [0.0, 1e9])
def test_every_epoch_is_logged_once_after_any_interruption(
    folder, tmp_path, monkeypatch, checkpoint_every
):
    """Checkpoints come every so many seconds, so a kill loses epochs that were logged already."""
    _, whole = train(folder, tmp_path, "whole")
    for stop in (1, 3, 6):
        monkeypatch.setattr(Trainer, "checkpoint_every", checkpoint_every)
        seen = []

        def interrupt(record, seen=seen, stop=stop):
            seen.append(record)
            if len(seen) == stop:
                raise Stop

        run = f"torn{stop}"
        with pytest.raises(Stop):
            train(folder, tmp_path, run, on_epoch=interrupt)
        path = tmp_path / run / "epochs.jsonl"
        assert len(path.read_text().splitlines()) == stop
        train(folder, tmp_path, run)
        logged = [json.loads(line) for line in path.read_text().splitlines()]
        assert [record["epoch"] for record in logged] == list(range(6))
        assert [r["loss"] for r in logged] == [r["loss"] for r in whole.records]
        train(folder, tmp_path, run)  # once more: it is done
        again = [json.loads(line) for line in path.read_text().splitlines()]
        assert again == logged


def test_writing_checkpoints_takes_a_twentieth_of_the_time_at_most(folder, tmp_path, monkeypatch):
    """A checkpoint of many gigabytes takes longer than the 20 s between small ones allow."""
    made = trainer(folder, tmp_path)
    now, took = [0.0], [0.5]
    monkeypatch.setattr("benchbcss.training.trainer.time.monotonic", lambda: now[0])

    def write(*arguments):
        now[0] += took[0]
        written.append(now[0])
        return "0" * 64

    written = []
    monkeypatch.setattr("benchbcss.training.trainer.write_checkpoint", write)
    monkeypatch.setattr(made.kept, "saved_last", lambda *arguments: None)
    # at once, since there is one clock for both threads here
    monkeypatch.setattr(made.writes, "do", made.writes._timed)
    made.start_clock()
    for expected in (0.5, 14.0):
        took[0] = expected
        written.clear()
        begun = now[0]
        while now[0] - begun < 3000:  # epochs of a second
            now[0] += 1
            made.save_if_due()
        assert len(written) * expected <= 0.06 * (now[0] - begun)
        gaps = [b - a for a, b in pairwise(written[1:])]
        assert set(gaps) == ({21.5} if expected == 0.5 else {295.0})


def test_a_training_that_ended_by_time_is_not_continued(folder, tmp_path):
    """Killed after its last checkpoint, in the middle of an epoch."""

    def state():
        made = trainer(folder, tmp_path, steps=1000)
        made.history.ended, made.step = True, 3
        return made

    with (before := state()).writes:
        before.save()
    again = state()
    again.history, again.step = None, 0
    assert again.resume()
    assert again.done
    assert again.step == 3


def test_the_average_is_what_is_scored(folder, tmp_path):
    state = trainer(folder, tmp_path, ema=0.5)
    assert state.scored is not state.model
    assert torch.equal(weights(state.scored), weights(state.model))


class LeavesOut(Tiny):
    """A backend that puts its first layer in no group."""

    def parameter_groups(self, model):
        return {"last": super().parameter_groups(model)["last"]}


def test_what_is_in_no_group_neither_learns_nor_counts(folder, tmp_path):
    """As if it had been frozen in ``build``: its gradients, which no optimiser clears, would add up
    and take over the norm that the others are clipped by."""
    frozen, expected = train(folder, tmp_path, "frozen", backend=Frozen, clip_norm=0.1)
    left, history = train(folder, tmp_path, "left", backend=LeavesOut, clip_norm=0.1)
    norms = [[record["grad_norm_max"] for record in h.records] for h in (expected, history)]
    assert norms[0] == norms[1]
    assert torch.equal(weights(frozen), weights(left))


def test_a_stage_for_a_group_that_there_is_not_is_refused(folder, tmp_path):
    with pytest.raises(RecipeError, match=r"no parameter group 'frist'. Known: first, last"):
        trainer(folder, tmp_path, unfreeze=[{"epoch": 0, "lr": {"frist": 0.0}}])


def test_a_stage_for_a_group_that_build_froze_is_no_mistake(folder, tmp_path):
    trainer(folder, tmp_path, Frozen, unfreeze=FREEZE_FIRST)


@pytest.mark.parametrize("later", [[], [{"epoch": 100, "lr": {"first": 1e-3}}]])
def test_a_schedule_by_which_nothing_ever_learns_is_refused(folder, tmp_path, later):
    stages = [{"epoch": 0, "lr": {"first": 0.0, "last": 0.0}}, *later]
    with pytest.raises(RecipeError, match="nothing is trained"):
        trainer(folder, tmp_path, unfreeze=stages)


def test_a_rate_below_zero_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Train(lr=1e-3, batch_size=2, unfreeze=[{"epoch": 0, "lr": {"first": -1.0}}])
