"""Training in fp16, on the CPU: scaled gradients that overflow cost a step, not the training."""

import json

import pytest
import torch
from training_support import Stop, Tiny, train, weights

from benchbcss.training.checkpoint import state_of
from benchbcss.training.scaling import INITIAL, LossScaler
from benchbcss.training.trainer import Trainer


class Steep(Tiny):
    """At step 3, its gradients in fp16 overflow where they are scaled by more than some 2^14."""

    def loss(self, model, batch):
        terms = super().loss(model, batch)
        return {"ce": terms["ce"] * (2e5 if batch.step == 3 else 1)}


class Broken(Tiny):
    """A finite loss whose gradient is infinite, whatever it is scaled by."""

    def loss(self, model, batch):
        terms = super().loss(model, batch)
        return {"ce": terms["ce"] + (terms["ce"] * 0).sqrt()}


def test_the_scale_is_that_of_torch(monkeypatch):
    """Overflows in a row, one right before the scale would grow, and growth."""
    monkeypatch.setattr("benchbcss.training.scaling.INTERVAL", 5)
    overflows = {0, 1, 6, 12, 23, 24}
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    theirs = torch.amp.GradScaler("cpu", init_scale=INITIAL, growth_interval=5)
    ours = LossScaler(enabled=True)
    for step in range(40):
        loss = (parameter * (torch.inf if step in overflows else 1.0)).sum()
        optimizer.zero_grad()
        theirs.scale(loss).backward()
        scaled = parameter.grad.clone()
        theirs.unscale_(optimizer)
        ours.unscale([scaled])
        assert torch.equal(scaled, parameter.grad)
        theirs.step(optimizer)
        theirs.update()
        assert ours.step(bool(scaled.isfinite().all()))
        assert ours.scale == theirs.get_scale(), step
    assert ours.scale > INITIAL / 4  # it has grown again


def test_without_fp16_nothing_is_scaled_or_forgiven():
    scaler, gradient = LossScaler(enabled=False), torch.ones(2)
    scaler.unscale([gradient])
    assert gradient.tolist() == [1, 1]
    assert scaler.scaled(gradient) is gradient
    assert scaler.step(True)
    assert not scaler.step(False)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_learns_the_same_in_every_precision(folder, tmp_path, precision):
    model, history = train(folder, tmp_path, precision, precision=precision)
    full, reference = train(folder, tmp_path, "full")
    assert history.diverged is None
    assert "skipped_steps" not in history.records[-1]
    same = torch.equal(weights(model), weights(full))
    assert same == (precision == "fp32")
    assert torch.allclose(weights(model), weights(full), atol=0.02)
    for record, other in zip(history.records, reference.records, strict=True):
        assert record["loss"]["loss"] == pytest.approx(other["loss"]["loss"], rel=0.02)
        assert record["grad_norm_max"] == pytest.approx(other["grad_norm_max"], rel=0.05)


def test_a_step_that_overflows_is_left_out_and_counted(folder, tmp_path):
    before, _ = train(folder, tmp_path, "before", 3, Steep, precision="fp16", warmup_steps=0)
    after, history = train(folder, tmp_path, "after", 4, Steep, precision="fp16", warmup_steps=0)
    assert history.diverged is None
    assert [record.get("skipped_steps") for record in history.records] == [None, 1]
    assert history.records[-1]["step"] == 4
    assert json.dumps(history.records, allow_nan=False)
    assert state_of(tmp_path / "after", "last")["scaler"] == {"scale": INITIAL / 2, "good": 0}
    assert state_of(tmp_path / "before", "last")["scaler"] == {"scale": INITIAL, "good": 3}
    # the rates of the two plans differ by step, those of the first step do not
    assert not torch.equal(weights(after), weights(before))


def test_what_is_not_finite_unscaled_is_a_divergence(folder, tmp_path):
    _, history = train(folder, tmp_path, "run", 24, Broken, precision="fp16")
    assert history.diverged["what"] == "a gradient"
    assert history.diverged["step"] == 16  # a scale of 2^16 was halved 16 times


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resuming_in_fp16_is_exact(folder, tmp_path, monkeypatch, stop):
    """Before, in and after the epoch in which a step was left out."""
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)
    whole, history = train(folder, tmp_path, "whole", backend=Steep, precision="fp16")

    def interrupt(record):
        if record["epoch"] == stop:
            raise Stop

    with pytest.raises(Stop):
        train(folder, tmp_path, "torn", backend=Steep, on_epoch=interrupt, precision="fp16")
    model, again = train(folder, tmp_path, "torn", backend=Steep, precision="fp16")
    assert torch.equal(weights(model), weights(whole))
    states = [state_of(tmp_path / run, "last") for run in ("whole", "torn")]
    assert states[0]["scaler"] == states[1]["scaler"]
    assert states[0]["scaler"]["scale"] == INITIAL / 2
    drop = ("seconds",)
    assert [{k: v for k, v in r.items() if k not in drop} for r in again.records] == [
        {k: v for k, v in r.items() if k not in drop} for r in history.records
    ]
