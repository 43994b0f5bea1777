"""Gradient checkpointing in every backend that has it: the same loss and gradients, less memory."""

import copy

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Batch, Context, Task
from benchbcss.errors import RecipeError
from benchbcss.recipes import resolve
from benchbcss.training.recompute import recompute
from benchbcss.weights import Weights
from benchmarks.live_bytes import LiveBytes

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)
UNETPP_HEAD = (
    "model.head.kind=unetpp",
    "model.encoder.name=resnet18",
    "model.head.decoder_channels=[32,24,16,16,8]",
)
#: backend -> settings, and the share of what the forward pass keeps that is left, at this tiny size
CASES = {
    "unetpp": ((), 0.9),
    "transunet": ((), 0.8),
    "segformer": (("model.drop_path=0.3",), 0.9),
    "hf_semantic": ((), 0.9),
    "foundation": ((), 0.8),
    "foundation lora": (("model.adaptation.kind=lora",), 0.8),
    "foundation unetpp": (UNETPP_HEAD, 0.95),
    "foundation frozen unetpp": ((*UNETPP_HEAD, "model.adaptation.kind=frozen"), 0.95),
    "foundation_phikon2": (("model.adaptation.kind=full",), 0.8),
    "mask2former": (("model.drop_path=0.3",), 0.8),
    "eomt": ((), 0.8),
    "sam2_v3": (("view.size=64",), 0.8),
    "sam2_lora": (("view.size=64",), 0.8),
    "sam2_dense": ((), 0.8),
}


def built(case, *more):
    name, settings = case.split()[0], CASES.get(case, ((), 0))[0]
    entry = registry.load().backend(name)
    entry.require()
    recipe = resolve(entry.info.recipe, "smoke", (*settings, *more))
    context = Context(0, torch.device("cpu"), Weights.parse("none"), False, [9, 8, 3, 3, 1, 4])
    torch.manual_seed(0)
    made = entry.load()(TASK, recipe.model_dump(), context)
    return made, made.build().train()


def batch():
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 6, (2, 8, 8), generator=generator)
    target = target.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return Batch(torch.rand(2, 3, 64, 64, generator=generator), target, ["a", "b"], 100)


def step(made, network):
    """Loss, gradients and buffers after one step's passes, and what was held between the two."""
    given = batch()
    network.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    with LiveBytes([*network.parameters(), *network.buffers(), given.image, given.target]) as live:
        loss = torch.stack(list(made.loss(network, given).values())).sum()
        held = live.now
        loss.backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, dict(network.named_buffers()), held


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_same_and_memory_is_less(case):
    made, network = built(case)
    again = copy.deepcopy(network)
    loss, gradients, buffers, held = step(made, network)
    recompute(made.recomputable(again), list(again.parameters()))
    other, theirs, statistics, less = step(made, again)
    assert torch.equal(loss, other)
    assert gradients.keys() == theirs.keys()
    assert gradients
    for name, gradient in gradients.items():
        assert torch.equal(gradient, theirs[name]), name
    for name, buffer in buffers.items():  # running statistics are not updated twice
        assert torch.equal(buffer, statistics[name]), name
    assert less < CASES[case][1] * held, f"{less / held:.2f} of the memory"


def test_a_network_that_learns_nothing_inside_is_refused():
    made, network = built("foundation", "model.adaptation.kind=frozen")
    with pytest.raises(RecipeError, match="gradient_checkpointing has no effect"):
        recompute(made.recomputable(network), list(network.head.parameters()))
