"""The comparison of pretrained and random encoders: the package's tensors get timm's names."""

import re

import pytest
import torch

from benchbcss.recipes import resolve
from benchmarks.pretraining import ENCODER, ROWS, renamed, settings

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model(ENCODER).eval()


def package_names(network):
    """timm's tensors as the package names them: blocks counted throughout, batch norms from 0
    where a block expands and from 1 where it does not."""
    number, names = -1, {}
    begun = None
    for name, tensor in network.state_dict().items():
        block = re.match(r"(blocks\.\d+\.\d+)\.(\w+)\.(\w+)$", name)
        if block is None:
            first, _, rest = name.partition(".")
            new = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head"}
            new |= {"bn2": "_bn1", "classifier": "_fc"}
            names[f"{new[first]}.{rest}"] = tensor
            continue
        if block[1] != begun:
            begun, number = block[1], number + 1
        expands = f"{begun}.conv_pwl.weight" in network.state_dict()
        first = 0 if expands else 1
        layers = {f"bn{index}": f"_bn{index - 1 + first}" for index in (1, 2, 3)}
        layers |= {"conv_dw": "_depthwise_conv", "conv_pwl": "_project_conv"}
        layers["conv_pw"] = "_expand_conv" if expands else "_project_conv"
        names[f"_blocks.{number}.{layers[block[2]]}.{block[3]}"] = tensor
    return names


def test_renamed_tensors_make_the_same_network(network):
    state = package_names(network)
    assert "_blocks.15._project_conv.weight" in state
    again = timm.create_model(ENCODER).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(again(image), network(image))
        again.load_state_dict(renamed(state, again.state_dict()))
        assert torch.equal(again(image), network(image))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda state: state.pop("_blocks.3._bn1.bias"),
            "1 tensors are missing, such as blocks.2.0",
        ),
        (lambda state: state.update({"_blocks.16._bn0.bias": torch.zeros(1)}), "no counterpart"),
        (lambda state: state.update({"_fc.weight": torch.zeros(2, 2)}), "_fc.weight .* no counter"),
        (
            lambda state: state.update({"_swish.x": torch.zeros(1)}),
            "_swish.x .* has no counterpart",
        ),
    ],
)
def test_another_file_is_refused(network, change, said):
    state = package_names(network)
    change(state)
    with pytest.raises(ValueError, match=said):
        renamed(state, network.state_dict())


def test_rows_differ_in_what_learns_alone():
    made = {}
    for name, (_, adaptation) in ROWS.items():
        chosen = settings(adaptation, 10, 1e-3)
        overrides = tuple(
            f"{key}={'null' if value is None else value}" for key, value in chosen.items()
        )
        recipe = resolve("benchbcss_hf:foundation.yaml", "smoke", overrides).model_dump()
        assert recipe["model"].pop("adaptation")["kind"] == adaptation
        made[name] = recipe
    assert all(recipe == made["random-full"] for recipe in made.values())
