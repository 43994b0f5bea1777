"""Settings for speed do what they say, change no more than the last digits, or are refused."""

import pytest
import torch
from training_support import Tiny, train, weights

from benchbcss.errors import RecipeError
from benchbcss.recipes import Train
from benchbcss.training import speedups
from benchbcss.training.checkpoint import load_checkpoint, save_checkpoint

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def settings(**given):
    return Train.model_validate({"lr": 1e-2, "batch_size": 2, **given})


class Steady(Tiny):
    """Without dropout, whose random numbers a compiled network draws in an order of its own."""

    def build(self):
        model = super().build()
        model[1].p = 0.0
        return model


@pytest.fixture
def flags():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    yield
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value


def test_nothing_is_on_by_default(flags):
    given = settings()
    speedups.prepare(given, GPU)
    assert not torch.backends.cuda.matmul.allow_tf32
    model = torch.nn.Conv2d(3, 8, 3)
    speedups.lay_out(given, model)
    assert not model.weight.is_contiguous(memory_format=torch.channels_last)
    assert not given.compile


def test_channels_last_lays_out_weights_and_images(folder, tmp_path):
    seen = []

    class Sees(Steady):
        def loss(self, model, batch):
            seen.append(batch.image.is_contiguous(memory_format=torch.channels_last))
            return super().loss(model, batch)

    plain, history = train(folder, tmp_path, "plain", 4, Sees)
    model, other = train(folder, tmp_path, "last", 4, Sees, channels_last=True)
    assert seen == [False] * 4 + [True] * 4
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(weights(model), weights(plain), atol=1e-4)
    assert other.records[-1]["loss"]["loss"] == pytest.approx(history.records[-1]["loss"]["loss"])


def test_channels_last_of_a_network_without_convolutions_is_refused():
    with pytest.raises(RecipeError, match="no effect: the network has no weights of convolutions"):
        speedups.lay_out(settings(channels_last=True), torch.nn.Linear(3, 3))


def test_tf32_is_for_gpus(flags):
    with pytest.raises(RecipeError, match="tf32 has no effect here"):
        speedups.prepare(settings(tf32=True), CPU)
    assert not torch.backends.cuda.matmul.allow_tf32
    speedups.prepare(settings(tf32=True), GPU)
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_the_optimiser_is_fused_on_a_gpu_alone():
    parameter = torch.nn.Parameter(torch.arange(6.0))
    made = {d: speedups.optimizer({"all": [parameter]}, settings(), d) for d in (CPU, GPU)}
    assert not made[CPU].defaults["fused"]
    assert made[GPU].defaults["fused"]


def test_a_fused_optimiser_goes_on_from_a_checkpoint(tmp_path):
    """No GPU was at hand: PyTorch's fused AdamW for the CPU stands in."""
    results = []
    for saves in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 4)
        optimizer = speedups.optimizer({"all": list(model.parameters())}, settings(), GPU)
        for step in range(6):
            if saves and step == 3:
                save_checkpoint(tmp_path, "last", model, optimizer, {})
                model = torch.nn.Linear(4, 4)
                optimizer = speedups.optimizer({"all": list(model.parameters())}, settings(), GPU)
                load_checkpoint(tmp_path, "last", model, optimizer)
            optimizer.zero_grad()
            model(torch.ones(2, 4)).square().sum().backward()
            optimizer.step()
        results.append(weights(model))
    assert torch.equal(*results)


def test_a_compiled_loss_trains_alike(folder, tmp_path, monkeypatch):
    if not speedups._has_compiler():
        pytest.skip("no C++ compiler")
    from torch._dynamo.utils import counters

    # for two kernels, other processes and a header of its own cost more than they save
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    monkeypatch.setattr("torch._inductor.config.cpp_cache_precompile_headers", False)

    counters.clear()
    plain, history = train(folder, tmp_path, "plain", 2, Steady)
    assert not counters["stats"]["unique_graphs"]
    model, other = train(folder, tmp_path, "compiled", 2, Steady, compile=True)
    assert counters["stats"]["unique_graphs"] >= 1
    assert torch.allclose(weights(model), weights(plain), atol=1e-4)
    assert other.records[-1]["loss"]["loss"] == pytest.approx(
        history.records[-1]["loss"]["loss"], rel=1e-4
    )


def test_compiling_without_a_compiler_is_refused(only_programs, monkeypatch):
    from torch._inductor import cpp_builder

    monkeypatch.delenv("CXX", raising=False)
    cpp_builder.cpp_compiler_search.cache_clear()
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "g++"))
    with pytest.raises(RecipeError, match=r"needs a C\+\+ compiler on the CPU"):
        speedups.prepare(settings(compile=True), CPU)
    cpp_builder.cpp_compiler_search.cache_clear()
