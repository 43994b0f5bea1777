"""Adapters: no effect at the start, all that learns, and plain weights under their own names."""

import pytest
import torch
from torch import nn

from benchbcss.errors import RecipeError, WeightsError
from benchbcss.training.adapters import adapt, is_adapter, load_plain, plain_names

pytest.importorskip("peft")

SETTINGS = {"rank": 2, "alpha": 4, "dropout": 0.0, "dora": False, "layers": ["0", "2"]}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 3), nn.LayerNorm(3))


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_start_without_effect_and_are_all_that_learns(dora):
    plain, adapted = network(), network()
    adapt(adapted, {**SETTINGS, "dora": dora})
    x = torch.randn(4, 5)
    assert torch.allclose(adapted(x), plain(x), atol=1e-6)
    learning = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in adapted.named_parameters() if is_adapter(n)}
    assert len(learning) == (6 if dora else 4)
    rank = sum(p.numel() for n, p in adapted.named_parameters() if "lora_A" in n or "lora_B" in n)
    assert rank == 2 * (5 + 7) + 2 * (7 + 3)


def test_what_an_adapter_adds_is_its_scaled_product():
    adapted = network()
    adapt(adapted, SETTINGS)
    first = adapted[0]
    with torch.no_grad():
        first.lora_B["default"].weight.normal_()
    x = torch.randn(4, 5)
    a, b = first.lora_A["default"].weight, first.lora_B["default"].weight
    expected = first.base_layer(x) + 4 / 2 * x @ a.T @ b.T
    assert torch.allclose(first(x), expected, atol=1e-6)


def test_plain_weights_are_loaded_and_adapters_kept():
    plain, adapted = network(1), network()
    adapt(adapted, SETTINGS)
    assert set(plain_names(adapted)) == set(plain.state_dict())
    before = {n: t.clone() for n, t in adapted.state_dict().items() if is_adapter(n)}
    said = load_plain(adapted, dict(plain.state_dict()), "these")
    assert set(said.missing_keys) == set(before)
    x = torch.randn(4, 5)
    assert torch.allclose(adapted(x), plain(x), atol=1e-6)
    assert all(torch.equal(adapted.state_dict()[n], t) for n, t in before.items())


def test_what_does_not_fit_is_named():
    adapted = network()
    adapt(adapted, SETTINGS)
    state = dict(network(1).state_dict())
    with pytest.raises(WeightsError, match=r"^these: 9\.weight is unknown, and so on \(1 such"):
        load_plain(adapted, {**state, "9.weight": torch.ones(1)}, "these")
    more = {**state, "9.weight": torch.ones(1)}
    load_plain(adapted, more, "these", extra=lambda name: name == "9.weight")
    with pytest.raises(WeightsError, match=r"^these: 9\.weight is unknown"):
        load_plain(adapted, more, "these", extra=lambda name: name == "8.weight")
    with pytest.raises(WeightsError, match=r"these: 3\.bias is \(4,\) and not \(3,\)"):
        load_plain(adapted, {**state, "3.bias": torch.ones(4)}, "these")
    with pytest.raises(WeightsError, match=r"these: 3\.bias is torch\.int8 and not of floating"):
        load_plain(adapted, {**state, "3.bias": torch.ones(3, dtype=torch.int8)}, "these")
    del state["0.bias"]
    with pytest.raises(WeightsError, match=r"these: it lacks 0\.bias"):
        load_plain(adapted, state, "these")
    load_plain(adapted, state, "these", needed=lambda name: name.startswith("3."))
    with pytest.raises(RecipeError, match="the adapters do not fit the network"):
        adapt(network(), {**SETTINGS, "layers": ["nothing"]})
    with pytest.raises(RecipeError, match="the adapters do not fit the network"):
        adapt(network(), {**SETTINGS, "rank": 0})
