"""Whatever happens to a checkpoint, the scored weights are those of the undisturbed run."""

import pytest
import torch
from training_support import train, weights

from benchbcss.io import begin_list, check
from benchbcss.training import loop
from benchbcss.training.trainer import Trainer

DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "flipped": lambda path: path.write_bytes(_flipped(path.read_bytes())),
}


def _flipped(data):
    """One byte in the middle of the tensors."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :]


def jumpy(model):
    """A validation that depends on the weights alone, and is best somewhere on the way."""
    return loop.Validation(float(torch.sin(900 * weights(model).double().sum())) / 2 + 0.5, {})


class Stop(Exception):
    pass


def stop_after(epoch):
    def interrupt(record):
        if record["epoch"] == epoch:
            raise Stop

    return interrupt


@pytest.fixture(params=[0.0, 3600.0], ids=["saves-each-epoch", "saves-at-the-end"])
def whole(request, folder, tmp_path, monkeypatch):
    """An undisturbed training, whose run folder lists checksums, however often it saves."""
    monkeypatch.setattr(Trainer, "checkpoint_every", request.param)
    (tmp_path / "run").mkdir()
    begin_list(tmp_path / "run")
    model, history = train(folder, tmp_path, "run", validate=jumpy)
    assert history.scored == "best"
    assert history.best_step < 12
    return weights(model), history


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("names", [["best"], ["last"], ["last", "best"], ["last", "previous"]])
def test_a_damaged_checkpoint_is_trained_again(folder, tmp_path, whole, kind, names):
    run_dir = tmp_path / "run"
    expected, history = whole
    for name in names:
        for path in (run_dir / "checkpoints").glob(f"{name}*.safetensors"):
            DAMAGE[kind](path)
    begin_list(run_dir)  # as a worker does that starts
    model, again = train(folder, tmp_path, "run", validate=jumpy)
    assert torch.equal(weights(model), expected)
    assert again.best_step == history.best_step
    assert [r["epoch"] for r in again.records] == list(range(6))
    lines = (run_dir / "epochs.jsonl").read_text().splitlines()
    assert len(lines) == 6


@pytest.mark.parametrize("epoch", range(5))
def test_the_best_of_a_later_epoch_is_not_joined_with_an_earlier_state(
    folder, tmp_path, monkeypatch, epoch
):
    """A kill after ``best`` was written and before ``last`` was: two of them on disk disagree."""
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)
    expected, history = train(folder, tmp_path, "whole", validate=jumpy)
    (tmp_path / "torn").mkdir()
    begin_list(tmp_path / "torn")
    with pytest.raises(Stop):
        train(folder, tmp_path, "torn", validate=jumpy, on_epoch=stop_after(epoch))
    begin_list(tmp_path / "torn")
    model, again = train(folder, tmp_path, "torn", validate=jumpy)
    assert torch.equal(weights(model), weights(expected))
    assert again.best_step == history.best_step


def test_two_states_and_no_old_best_weights_are_kept(tmp_path, whole):
    names = sorted(path.stem for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert {"best", "last"} <= set(names)
    assert len(names) <= 4, names
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        assert check(path) == "ok", path
