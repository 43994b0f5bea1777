import random
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from training_support import Stop, Tiny, samples, train, weights

from benchbcss.contract import Context, Task
from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.store import TileStore
from benchbcss.errors import PluginError
from benchbcss.recipes import Scale, Train
from benchbcss.runs.heartbeat import Stage
from benchbcss.suites import Budget
from benchbcss.training import loop
from benchbcss.training.losses import cross_entropy
from benchbcss.training.samples import TrainingData
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer


@pytest.fixture(autouse=True)
def _checkpoint_every_epoch(monkeypatch):
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_interrupted_run_continues_bit_for_bit(folder, tmp_path, accumulate):
    options = {"accumulate": accumulate} if accumulate > 1 else {}
    whole, history = train(folder, tmp_path, "whole", **options)
    epochs = []

    def interrupt(record):
        epochs.append(record["epoch"])
        if len(epochs) == 3:
            raise Stop

    with pytest.raises(Stop):
        train(folder, tmp_path, "torn", on_epoch=interrupt, **options)
    resumed, again = train(folder, tmp_path, "torn", **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r["loss"] for r in history.records] == [r["loss"] for r in again.records]


def test_steps_are_told_and_change_nothing(folder, tmp_path):
    """From the step that training begins, or goes on, at."""
    plain, _ = train(folder, tmp_path, "plain")
    told = []

    def interrupt(step):
        told.append(step)
        if step == 7:
            raise Stop

    with pytest.raises(Stop):
        train(folder, tmp_path, "told", on_step=interrupt, on_start=lambda: told.append("start"))
    assert told == ["start", *range(1, 8)]
    told.clear()
    model, _ = train(
        folder, tmp_path, "told", on_step=told.append, on_start=lambda: told.append("start")
    )
    assert told == ["start", *range(7, 13)]  # step 6 ended the last epoch that was saved
    assert torch.equal(weights(plain), weights(model))


def test_counting_is_negligible_beside_a_step(folder, tmp_path):
    """As a share of the very training that it counts, with the heartbeat at work."""
    stage, spent = Stage(tmp_path), []

    with stage.counting(200, "step") as count:

        def timed(step):
            begun = time.perf_counter()
            count(step)
            spent.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        train(folder, tmp_path, "run", steps=200, on_step=timed)
        share = sum(spent) / (time.perf_counter() - begun)
    stage.stop()
    assert len(spent) == 200
    assert share < 0.01


def test_it_learns(folder, tmp_path):
    _, history = train(folder, tmp_path, "run", steps=40)
    losses = [record["loss"]["ce"] for record in history.records]
    assert losses[-1] < losses[0]
    assert len(history.records) == 20  # 4 ROIs, batch 2: two steps an epoch


def test_the_best_validation_is_kept(folder, tmp_path):
    seen = []

    def validate(model):
        seen.append(weights(model).clone())
        value = 0.9 if len(seen) == 3 else 0.1  # the start, then after each epoch
        return loop.Validation(value, {"tumor": value})

    model, history = train(folder, tmp_path, "run", validate=validate)
    assert history.best == 0.9
    assert torch.equal(weights(model), seen[2])


def test_a_misleading_monitor_picks_by_its_own_value(folder, tmp_path):
    seen = []

    def validate(model):
        seen.append(weights(model).clone())
        first = len(seen) == 2  # after the start
        return loop.Validation(0.1 if first else 0.6, {}, 0.9 if first else 0.5)

    model, history = train(folder, tmp_path, "run", validate=validate, monitor="any_tissue_dice")
    assert history.best == 0.9
    assert torch.equal(weights(model), seen[1])
    assert history.records[1]["val_mean_dice"] == 0.6  # the honest one is always beside it


def test_early_stopping_counts_after_warmup(folder, tmp_path):
    def validate(model):
        return loop.Validation(0.5, {})

    _, history = train(
        folder,
        tmp_path,
        "run",
        steps=40,
        validate=validate,
        warmup_steps=8,
        early_stopping={"patience": 3, "min_delta": 0.001},
    )
    assert history.stopped == "no gain for 3 epochs"
    assert history.records[-1]["step"] == 8 + 3 * 2


def test_frozen_groups_do_not_move(folder, tmp_path):
    model, history = train(
        folder,
        tmp_path,
        "run",
        unfreeze=[{"epoch": 0, "lr": {"first": 0.0}}, {"epoch": 4, "lr": {"first": 1e-3}}],
    )
    fresh = Tiny(None, {}, None).build()
    assert not torch.equal(model[0].weight, fresh[0].weight)  # thawed at epoch 4
    assert history.records[3]["learning_rate"]["first"] == 0
    frozen, _ = train(
        folder, tmp_path, "frozen", steps=8, unfreeze=[{"epoch": 0, "lr": {"first": 0.0}}]
    )
    assert torch.equal(frozen[0].weight, fresh[0].weight)
    assert not torch.equal(frozen[2].weight, fresh[2].weight)


class ByImage(Tiny):
    """Its loss is a mean over images, and what it sees is remembered: accumulated or at once, the
    gradients are the same."""

    seen: list[str]

    def build(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 6, 1)
        )

    def loss(self, model, batch):
        type(self).seen += batch.names
        logits, target = model(batch.image), batch.target[..., 1:-1, 1:-1]
        pairs = zip(logits.split(1), target.split(1), strict=True)
        return {"ce": torch.stack([cross_entropy(*pair) for pair in pairs]).mean()}


@pytest.mark.parametrize("rois", [4, 5, 6])
def test_accumulation_equals_a_larger_batch_of_the_same_samples(folder, tmp_path, rois):
    """In every epoch, whether its ROIs are shared out evenly or some are left: six ROIs are three
    batches of two, of which a step that takes two leaves one."""
    trained, seen, epochs = [], [], []
    for batch, accumulate in [(4, 1), (2, 2), (1, 4)]:
        ByImage.seen = []
        options = {"batch_size": batch, "accumulate": accumulate, "rois": rois, "warmup_steps": 0}
        model, history = train(
            folder, tmp_path, f"{batch}", steps=3, backend=ByImage, clip_norm=1e9, **options
        )
        trained.append(weights(model))
        seen.append(ByImage.seen)
        epochs.append([record["epoch"] for record in history.records])
    assert seen[0] == seen[1] == seen[2]
    assert all(len(set(seen[0][first : first + 4])) == 4 for first in (0, 4, 8))
    assert epochs == 3 * [[0, 1, 2]]
    torch.testing.assert_close(trained[1], trained[0])
    torch.testing.assert_close(trained[2], trained[0])


def test_a_step_takes_no_more_samples_than_an_epoch_has(folder, tmp_path):
    ByImage.seen = []
    _, history = train(folder, tmp_path, "run", steps=2, backend=ByImage, accumulate=100)
    assert [record["epoch"] for record in history.records] == [0, 1]
    assert sorted(ByImage.seen[:4]) == sorted(ByImage.seen[4:]) == sorted(set(ByImage.seen))


def test_whatever_a_backend_draws_from_is_seeded(folder, tmp_path):
    """numpy's global generator and Python's as well as torch's; what was drawn before a run, or
    before it was continued, is not felt."""

    class Draws(Tiny):
        def loss(self, model, batch):
            noise = (1 + np.random.rand()) * (1 + random.random())  # noqa: NPY002
            return {"ce": noise * super().loss(model, batch)["ce"]}

    trained = []
    for run in ("one", "other"):
        model, _ = train(folder, tmp_path, run, steps=3, backend=Draws)
        trained.append(weights(model))
    assert torch.equal(*trained)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, "no term"),
        ({"a": torch.zeros(3)}, r"shape \(3,\), expected a scalar"),
        (None, r"loss\(\) returned nothing, expected a dict"),
        (torch.zeros(()), r"loss\(\) returned a Tensor, expected a dict"),
        ({"a": 0.5}, "term 'a' is a float, expected a tensor"),
    ],
)
def test_malformed_losses_are_named(folder, tmp_path, terms, message):
    class Malformed(Tiny):
        def loss(self, model, batch):
            return terms

    with pytest.raises(PluginError, match=message):
        train(folder, tmp_path, "run", backend=Malformed)


def test_samples_are_functions_of_seed_epoch_and_roi(folder, tmp_path):
    data = samples(folder, tmp_path)
    first, again = data.sample(3, 1), samples(folder, tmp_path).sample(3, 1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], data.sample(4, 1)[0])
    assert sorted(data.order(0)) == [0, 1, 2, 3]


@pytest.mark.parametrize("squash", [None, 32])
def test_multi_scale_by_epoch(folder, tmp_path, squash):
    scales = (Scale(epoch=2, size=64), Scale(epoch=5, size=48))
    data = samples(folder, tmp_path, squash=squash, scales=scales)
    for epoch, size in ((0, 32), (1, 32), (2, 64), (4, 64), (5, 48), (9, 48)):
        image, target = data.sample(epoch, 0)
        assert image.shape == (3, size, size)
        assert target.shape == (size, size)
        assert set(target.unique().tolist()) <= {0, 1, 2, 3, 4, 5, 255}
    assert next(image.shape for _, image, _ in data.rois()) == (
        (40, 56, 3) if squash is None else (32, 32, 3)
    )


def test_rare_classes_are_met_more_often(tmp_path):
    import numpy as np
    from tests_support import write_folder

    mask = np.full((256, 256), 2, np.uint8)
    mask[5:9, 5:9] = 18
    source = Dataset(write_folder(tmp_path / "d", {"a.png": mask}), TileStore(tmp_path / "s"))
    labels = label_map("bcss5")
    data = TrainingData(list(source.rois(source.names, labels).values()), labels, 32, None, 0)

    def share():
        return np.mean([bool((data.sample(e, 0)[1] == 4).any()) for e in range(200)])

    plain = share()
    data.rare_class_probability = 1.0
    assert plain < 0.1
    assert 0.35 < share() < 0.65  # of two classes, one at a time


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_of_weights_is_an_exponential_one(folder, tmp_path, accumulate):
    """Against the recursion written out, over the weights after every step."""
    seen = []

    class Watched(Tiny):
        def loss(self, model, batch):
            seen.append({k: v.clone() for k, v in model.state_dict().items()})
            return super().loss(model, batch)

    settings = {"accumulate": accumulate, "steps": 6, "backend": Watched}
    plain, _ = train(folder, tmp_path, "plain", **settings)
    states = [*seen[::accumulate][1:], dict(plain.state_dict())]
    seen.clear()
    averaged, _ = train(folder, tmp_path, "averaged", ema=0.8, **settings)
    expected = dict(states[0])
    for state in states[1:]:
        expected = {k: 0.8 * expected[k] + 0.2 * v for k, v in state.items()}
    for key, value in averaged.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-6), key
    assert not torch.allclose(averaged[0].weight, plain[0].weight, atol=1e-6)


def test_what_is_validated_and_kept_is_the_average(folder, tmp_path):
    values = iter([0.2, 0.1, 0.5, 0.3])
    judged = []

    def validate(model):
        judged.append(model[0].weight.detach().clone())
        return loop.Validation(next(values), {})

    model, history = train(folder, tmp_path, "run", 6, validate=validate, ema=0.5)
    assert history.best == 0.5
    assert torch.equal(model[0].weight, judged[2])


def progress(folder, tmp_path, run, **options):
    """(step, share of training that is done) of each batch."""
    seen = []

    class Watching(Tiny):
        def loss(self, model, batch):
            seen.append((batch.step, batch.progress))
            return super().loss(model, batch)

    with suppress(Stop):
        train(folder, tmp_path, run, backend=Watching, **options)
    return seen


def test_a_batch_says_how_much_of_training_is_done(folder, tmp_path):
    """Also one of several in a step, and after an interruption."""
    whole = [(step, step / 12) for step in range(12)]
    assert progress(folder, tmp_path, "whole") == whole
    parts = progress(folder, tmp_path, "parts", steps=4, accumulate=2)
    assert parts == [(step, step / 4) for step in range(4) for _ in range(2)]

    def stop(record):
        if record["step"] == 6:
            raise Stop

    assert progress(folder, tmp_path, "torn", on_epoch=stop) == whole[:6]
    assert progress(folder, tmp_path, "torn") == whole[4:]  # step 4 ended the last epoch saved


def test_a_time_budget_ends_training_and_leads_the_learning_rate_down(folder, tmp_path):
    data = samples(folder, tmp_path)
    recipe = Train.model_validate({"lr": 1e-2, "lr_end": 0.0, "batch_size": 2})
    timed = plan(recipe, Budget(seconds=1.5), len(data))
    rates = []
    task = Task(data.labels.class_names, data.labels.mean_classes, 0.3, 32)
    made = Tiny(task, {}, Context(0, torch.device("cpu"), "none", False, [1] * 6))
    run_dir = tmp_path / "timed"
    trainer = Trainer(made, made.build(), recipe, timed, Accelerator(cpu=True), run_dir, seed=0)
    shares = []
    history = loop.train(
        trainer,
        data,
        on_epoch=lambda record: rates.append(record["learning_rate"]["first"]),
        on_step=lambda _: shares.append(trainer.progress),
    )
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.5 < shares[-1] <= 1
    assert 1.5 <= history.seconds < 15
    assert history.records[-1]["step"] < timed.steps
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.3e-2 < rates[0]


def test_the_start_is_validated_with_the_weights_as_loaded(folder, tmp_path):
    seen = []

    def validate(model):
        seen.append(weights(model).clone())
        return loop.Validation(0.3, {"tumor": 0.3}, 0.8)

    _, history = train(folder, tmp_path, "run", validate=validate)
    assert torch.equal(seen[0], weights(Tiny(None, {}, None).build()))
    assert history.start == {
        "step": 0,
        "val_mean_dice": 0.3,
        "val_dice": {"tumor": 0.3},
        "val_any_tissue_dice": 0.8,
        "val_monitored": 0.3,
    }
    assert len(seen) == 1 + len(history.records)
    lines = (tmp_path / "run" / "epochs.jsonl").read_text().splitlines()
    assert len(lines) == len(history.records)  # the log has one line per epoch, and no other


def test_the_start_never_competes_to_be_the_best(folder, tmp_path):
    values = iter([0.9, 0.2, 0.3, 0.1])
    _, history = train(
        folder, tmp_path, "run", 6, validate=lambda model: loop.Validation(next(values), {})
    )
    assert (history.best, history.best_step) == (0.3, 4)
    assert history.start["val_mean_dice"] == 0.9


@pytest.mark.parametrize("settings", [{}, {"ema": 0.8}, {"accumulate": 2}])
def test_validating_the_start_does_not_change_training(folder, tmp_path, settings):
    """Even where validation draws random numbers and leaves the network in evaluation mode."""

    def validate(model):
        torch.rand(17)
        model.eval()
        return loop.Validation(None, {})

    plain, history = train(folder, tmp_path, "plain", **settings)
    other, again = train(folder, tmp_path, "validated", validate=validate, **settings)
    assert torch.equal(weights(plain), weights(other))
    assert [r["loss"] for r in history.records] == [r["loss"] for r in again.records]


def test_a_resumed_run_does_not_validate_its_start_again(folder, tmp_path):
    calls = []

    def validate(model):
        calls.append(weights(model).clone())
        return loop.Validation(0.5, {})

    def interrupt(record):
        if record["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train(folder, tmp_path, "run", validate=validate, on_epoch=interrupt)
    before = len(calls)
    _, history = train(folder, tmp_path, "run", validate=validate)
    assert len(calls) - before == len(history.records) - 2  # epochs 0 and 1 were in the checkpoint
    assert history.start["val_mean_dice"] == 0.5


def test_the_clock_of_training_does_not_count_the_start(folder, tmp_path):
    calls = []

    def validate(model):
        calls.append(model)
        if len(calls) == 1:
            time.sleep(2)
        return loop.Validation(0.5, {})

    _, history = train(folder, tmp_path, "run", 2, validate=validate)
    assert history.seconds < 2


def test_early_stopping_waits_as_many_epochs_where_validation_is_rarer(folder, tmp_path):
    """Validated every fourth epoch: patience of 3 epochs is spent at the first of them that comes
    three epochs after warmup, and not after three validations."""

    def validate(model):
        return loop.Validation(0.5, {})

    _, history = train(
        folder,
        tmp_path,
        "run",
        steps=60,
        validate=validate,
        every=4,
        warmup_steps=8,
        early_stopping={"patience": 3, "min_delta": 0.001},
    )
    validated = [r["epoch"] + 1 for r in history.records if "val_mean_dice" in r]
    assert validated == [4, 8]  # the first is the best so far, and warmup ends with it
    assert history.stopped == "no gain for 4 epochs"


def test_patience_is_in_validations_as_the_recipe_asks_for_them(folder, tmp_path):
    def validate(model):
        return loop.Validation(0.5, {})

    options = {"steps": 80, "validate": validate, "validate_every": 2}
    rule = {"early_stopping": {"patience": 3}}
    _, asked = train(folder, tmp_path, "asked", **options, **rule)
    _, rarer = train(folder, tmp_path, "rarer", every=4, **options, **rule)
    assert asked.records[-1]["epoch"] + 1 == 2 + 3 * 2
    assert rarer.records[-1]["epoch"] + 1 == 4 + 2 * 4  # the first after 6 epochs without a gain
