"""What is written while training goes on: in order, whole, and told where it fails."""

import threading
import time

import pytest
import torch
from training_support import Stop, train, weights

from benchbcss import interrupt
from benchbcss.errors import PluginError, RunError
from benchbcss.inference.guard import Guard
from benchbcss.io import begin_list, check, write_bytes
from benchbcss.training import trainer as module
from benchbcss.training.background import Background
from benchbcss.training.checkpoint import snapshot, state_of
from benchbcss.training.trainer import Trainer


@pytest.fixture(autouse=True)
def _checkpoint_every_epoch(monkeypatch):
    monkeypatch.setattr(Trainer, "checkpoint_every", 0.0)


def test_pieces_are_done_in_order_and_two_are_held_at_most():
    begun, gate = [], threading.Event()

    def piece(number):
        begun.append(number)
        gate.wait()

    with Background() as background:
        for number in (0, 1):
            background.do(lambda number=number: piece(number))  # neither waits
        third = threading.Thread(target=background.do, args=(lambda: piece(2),))
        third.start()
        third.join(0.2)
        assert third.is_alive()
        assert begun == [0]
        gate.set()
        third.join()
    assert begun == [0, 1, 2]
    assert background.seconds > 0.1


def test_an_error_is_raised_once_and_what_waits_behind_it_is_not_done():
    done = []

    def fails():
        time.sleep(0.05)
        raise RunError("the disk is full")

    background = Background()
    background.do(fails)
    background.do(lambda: done.append("after"))
    with pytest.raises(RunError, match="disk is full"):
        background.wait()
    background.wait()
    assert not done


def test_an_error_does_not_hide_the_one_that_ended_training():
    def fails():
        raise RunError("the disk is full")

    def leave(error):
        with Background() as background:
            background.do(fails)
            if error is not None:
                raise error

    with pytest.raises(Stop):
        leave(Stop())
    with pytest.raises(RunError):
        leave(None)


def test_a_guard_that_is_up_meanwhile_lets_the_harness_write(tmp_path):
    """A plugin predicts: the workspace is out of its reach, not of the thread that it began in."""
    background, gate = Background(), threading.Event()
    guard = Guard({tmp_path: "the workspace"})

    def write():
        gate.wait()
        write_bytes(tmp_path / "file", b"content")

    with Guard({}, outward=False).up("training"), background:
        background.do(write)  # its thread is begun by guarded code
        with guard.up("running predict"):
            gate.set()
            background.wait()
    assert (tmp_path / "file").read_bytes() == b"content"
    with pytest.raises(PluginError), guard.up("running predict"):
        open(tmp_path / "file", "rb").close()


def test_a_snapshot_is_not_changed_by_training():
    model = torch.nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    for _ in range(2):
        tensors = snapshot(model, optimizer, model)
        kept = {name: tensor.clone() for name, tensor in tensors.items()}
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        assert all(torch.equal(tensors[name], kept[name]) for name in kept)
    assert {name.split(".")[0] for name in tensors} == {"model", "optimizer", "average"}


@pytest.fixture
def slow(monkeypatch):
    """Writing takes longer than an epoch does."""
    real, log = module.write_checkpoint, []

    def write(run_dir, name, tensors, state):
        log.append(("begins", state["step"]))
        time.sleep(0.3)
        digest = real(run_dir, name, tensors, state)
        log.append(("ends", state["step"]))
        return digest

    monkeypatch.setattr(module, "write_checkpoint", write)
    return log


def test_training_goes_on_while_a_checkpoint_is_written(folder, tmp_path, slow):
    model, _ = train(folder, tmp_path, "run", 8, on_step=lambda step: slow.append(("step", step)))
    begins, ends = slow.index(("begins", 2)), slow.index(("ends", 2))
    assert ("step", 3) in slow[begins:ends]
    assert slow[-1] == ("ends", 8)  # which was waited for
    assert state_of(tmp_path / "run", "last")["step"] == 8
    assert state_of(tmp_path / "run", "previous")["step"] == 6
    assert weights(model).isfinite().all()


def test_a_request_to_stop_waits_for_its_checkpoint(folder, tmp_path, slow, monkeypatch):
    asked = []
    monkeypatch.setattr(interrupt, "asked", lambda: bool(asked))
    whole, _ = train(folder, tmp_path, "whole")
    with pytest.raises(interrupt.StopRequested):
        train(folder, tmp_path, "torn", on_step=lambda step: step == 5 and asked.append(step))
    assert slow[-1] == ("ends", 5)
    asked.clear()
    model, _ = train(folder, tmp_path, "torn")
    assert torch.equal(weights(model), weights(whole))


def test_what_is_on_disk_while_it_writes_can_be_continued_from(folder, tmp_path, monkeypatch):
    """At any moment of writing, as a kill would leave it, and it ends as the undisturbed run."""
    whole, _ = train(folder, tmp_path, "whole")
    real = module.write_checkpoint

    def torn(run_dir, name, tensors, state):
        if state["step"] == 6:
            (run_dir / "checkpoints" / "last.safetensors").write_bytes(b"half of it")
            raise Killed
        return real(run_dir, name, tensors, state)

    class Killed(BaseException):
        pass

    (tmp_path / "torn").mkdir()
    begin_list(tmp_path / "torn")
    monkeypatch.setattr(module, "write_checkpoint", torn)
    with pytest.raises(Killed):
        train(folder, tmp_path, "torn")
    assert state_of(tmp_path / "torn", "previous")["step"] == 4
    monkeypatch.setattr(module, "write_checkpoint", real)
    begin_list(tmp_path / "torn")
    model, _ = train(folder, tmp_path, "torn")
    assert torch.equal(weights(model), weights(whole))
    for path in (tmp_path / "torn" / "checkpoints").iterdir():
        assert check(path) == "ok"


def test_a_disk_that_is_full_ends_training_with_its_sentence(folder, tmp_path, monkeypatch):
    def full(*given):
        raise RunError("last.safetensors cannot be written: No space left on device.")

    monkeypatch.setattr(module, "write_checkpoint", full)
    with pytest.raises(RunError, match="No space left"):
        train(folder, tmp_path, "run", 1000)
    steps = [line for line in (tmp_path / "run" / "epochs.jsonl").read_text().splitlines()]
    assert len(steps) < 10
