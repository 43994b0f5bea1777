"""Gradient checkpointing in the training loop; tests/plugins has it of real networks."""

from types import SimpleNamespace

import pytest
import torch
from training_support import Tiny, train, weights

from benchbcss.errors import RecipeError
from benchbcss.training.recompute import apply, innermost


class Normed(Tiny):
    """Dropout and batch statistics inside what is computed again."""

    def build(self):
        convolution, dropout, last = super().build()
        block = torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(8), dropout)
        return torch.nn.Sequential(block, torch.nn.Identity(), last)

    def recomputable(self, model):
        calls = self.calls = []
        model[0].register_forward_hook(lambda *_: calls.append("called"))
        model[0][0].register_forward_hook(lambda *_: calls.append("computed"))
        return [model[0]]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_and_statistics_are_those_of_a_training_without(folder, tmp_path, precision):
    options = {"precision": precision, "ema": 0.9, "accumulate": 2}
    plain, history = train(folder, tmp_path, "plain", 4, Normed, **options)
    model, other = train(
        folder, tmp_path, "again", 4, Normed, gradient_checkpointing=True, **options
    )
    expected = plain.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert other.records[-1]["loss"] == history.records[-1]["loss"]


def test_a_block_is_computed_twice_in_training_and_once_otherwise(folder, tmp_path):
    made = []

    class Watched(Normed):
        def recomputable(self, model):
            made.append((self, model))
            return super().recomputable(model)

    train(folder, tmp_path, "run", 4, Watched, gradient_checkpointing=True)
    backend, model = made[0]
    assert backend.calls.count("called") == 4
    assert backend.calls.count("computed") == 8
    backend.calls.clear()
    with torch.no_grad():
        model(torch.rand(1, 3, 8, 8))
    model.eval()(torch.rand(1, 3, 8, 8))
    assert backend.calls.count("computed") == 2


def test_a_backend_without_blocks_refuses_the_setting(folder, tmp_path):
    with pytest.raises(RecipeError, match=r"gradient_checkpointing has no effect.*recomputable"):
        train(folder, tmp_path, "run", 2, Tiny, gradient_checkpointing=True)


def test_blocks_that_never_learn_refuse_it_too(folder, tmp_path):
    class Frozen(Tiny):
        def recomputable(self, model):
            return [model[0]]

    frozen = [{"epoch": 0, "lr": {"first": 0.0}}]
    with pytest.raises(RecipeError, match="no blocks that learn"):
        train(folder, tmp_path, "run", 2, Frozen, unfreeze=frozen, gradient_checkpointing=True)
    model, _ = train(folder, tmp_path, "thawed", 2, Frozen, gradient_checkpointing=True)
    assert weights(model).isfinite().all()


@pytest.mark.parametrize(("size", "again"), [(24e9, True), (80e9, False)])
def test_left_to_itself_it_is_for_small_gpus(monkeypatch, size, again):
    """No GPU was at hand: its size is given here."""
    card = SimpleNamespace(total_memory=size)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    for device, expected in (("cuda", again), ("cpu", False)):
        block, passes = torch.nn.Linear(2, 2), []
        block.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        whole = torch.nn.Sequential(block)
        learning = list(whole.parameters())
        apply("auto", [whole], learning, torch.device(device))
        apply("auto", [whole], [], torch.device(device))  # nothing learns: not refused
        apply(False, [whole], learning, torch.device(device))
        whole(torch.ones(1, 2)).sum().backward()
        assert len(passes) == (2 if expected else 1)


def test_of_nested_modules_the_innermost_are_taken():
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2))
    outer = torch.nn.Sequential(inner, torch.nn.Linear(2, 2), torch.nn.Sequential())
    assert innermost(outer, torch.nn.Sequential) == [inner, outer[2]]
