"""Checkpoints as other people's trainers write them, read for what they say of their network."""

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Context, Task
from benchbcss.errors import WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Weights
from benchbcss.weights.loading import settle

smp = pytest.importorskip("segmentation_models_pytorch")

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
WIDTHS = [24, 20, 16, 12]


def built(name, weights, **model):
    entry = registry.load().backend(name)
    recipe = resolve(entry.info.recipe, "smoke").model_dump()
    recipe["model"] |= model
    given = Weights.parse(str(weights))
    context = Context(0, torch.device("cpu"), given, True, [9] * 6, evaluating=True)
    made = entry.load()(Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64), recipe, context)
    net = made.build().eval()
    return made, net, settle(net, context, name, made_here=made.made_here)


def theirs(**options):
    torch.manual_seed(3)
    settings = {"encoder_name": "resnet18", "encoder_depth": 4, "decoder_channels": WIDTHS}
    settings |= {"classes": 6, "encoder_weights": None, **options}
    return smp.UnetPlusPlus(**settings).eval()


def packed(kind, net, folder, **said):
    state = net.state_dict()
    if kind == "folder":
        net.save_pretrained(folder / "net")
        return folder / "net"
    path = folder / f"{kind}.pt"
    if kind == "lightning":
        wrapped = {f"model.{key}": value for key, value in state.items()}
        wrapped |= {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
        settings = {"arch": "UnetPlusPlus", "encoder_name": "resnet18", "out_classes": 6, **said}
        content = {"state_dict": wrapped, "epoch": 1, "hyper_parameters": settings}
    elif kind == "parallel":
        content = {f"module.{key}": value for key, value in state.items()}
    else:
        content = state
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", ["plain", "parallel", "lightning", "folder"])
def test_a_unetpp_of_other_sizes_than_the_recipes_is_read_from_its_checkpoint(kind, tmp_path):
    net = theirs()
    # The recipe's encoder is another one wherever the checkpoint names its own.
    recipe = {} if kind in ("plain", "parallel") else {"encoder": "resnet34"}
    made, ours, said = built("unetpp", packed(kind, net, tmp_path), **recipe)
    assert said.share == 1
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net((image - ours.mean) / ours.std)
        assert torch.allclose(made.predict(ours, image), expected, atol=1e-5)


def test_decoder_settings_come_from_the_folder(tmp_path):
    net = theirs(decoder_attention_type="scse", decoder_interpolation="bilinear")
    assert built("unetpp", packed("folder", net, tmp_path))[2].share == 1


@pytest.mark.parametrize(
    ("kind", "options", "said", "words"),
    [
        ("folder", {"classes": 3}, {}, "are of 3 classes, and the suite has 6"),
        ("plain", {"classes": 3}, {}, "are of 3 classes, and the suite has 6"),
        ("lightning", {"classes": 2}, {}, "are of 2 classes, and the suite has 6"),
        ("folder", {"in_channels": 4}, {}, "take 4 channels, not RGB"),
        ("lightning", {}, {"arch": "FPN"}, "are of a FPN, not of a UNet"),
    ],
)
def test_what_a_checkpoint_says_that_does_not_fit_is_one_sentence(
    kind, options, said, words, tmp_path
):
    path = packed(kind, theirs(**options), tmp_path, **said)
    with pytest.raises(WeightsError, match=words) as caught:
        built("unetpp", path)
    assert len(str(caught.value)) < 600


def test_channel_statistics_are_the_checkpoints(tmp_path):
    """smp's example for Lightning keeps them as buffers beside the network."""
    net, image = theirs(), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    wrapped = {f"model.{key}": value for key, value in net.state_dict().items()}
    mean, std = torch.tensor([0.7, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])
    for scale in (1, 255):
        buffers = {"mean": scale * mean.view(1, 3, 1, 1), "std": scale * std.view(1, 3, 1, 1)}
        torch.save({"state_dict": {**wrapped, **buffers}}, tmp_path / "a.ckpt")
        made, ours, _ = built("unetpp", tmp_path / "a.ckpt")
        with torch.no_grad():
            expected = net((image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
            assert torch.allclose(made.predict(ours, image), expected, atol=1e-4)


def test_outputs_in_another_order_and_number_are_mapped(tmp_path):
    """Seven outputs, background first, two of them stroma: each class's probability is theirs."""
    net = theirs(classes=7)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    order = {"0": "other", "1": "blood_vessel", "2": "tumor", "3": "stroma", "4": "necrosis"}
    class_map = {**order, "5": "lymphocyte", "6": "stroma"}
    made, ours, said = built("unetpp", packed("plain", net, tmp_path), class_map=class_map)
    assert said.share == 1
    with torch.no_grad():
        theirs_own = net((image - ours.mean) / ours.std).softmax(1)[0]
        probabilities = made.predict(ours, image).softmax(1)[0]
    for label, name in enumerate(NAMES):
        outputs = [int(output) for output, target in class_map.items() if target == name]
        assert torch.allclose(probabilities[label], theirs_own[outputs].sum(0), atol=1e-5)
    with pytest.raises(WeightsError, match="names '9', which the UNet.. has not"):
        built("unetpp", packed("plain", net, tmp_path), class_map={**class_map, "9": "tumor"})


def test_another_architecture_of_smp_is_named(tmp_path):
    smp.Unet("resnet18", encoder_weights=None, classes=6).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="are of a Unet, not of a UNet"):
        built("unetpp", tmp_path)


def test_a_mask2former_folder_is_scored_by_its_own_classes(tmp_path):
    """The same network with its classes in another order gives the same label map."""
    pytest.importorskip("benchbcss_mask2former")
    from benchbcss_mask2former.weights import random_network

    entry = registry.load().backend("mask2former")
    recipe = resolve(entry.info.recipe, "smoke").model_dump()["model"]
    torch.manual_seed(0)
    net = random_network(recipe, 6)
    net.config.id2label = dict(enumerate(NAMES))
    net.save_pretrained(tmp_path / "same")
    order = [5, 3, 1, 0, 4, 2]
    with torch.no_grad():
        for tensor in (net.class_predictor.weight, net.class_predictor.bias):
            tensor[:6] = tensor[order].clone()
    net.config.id2label = {i: NAMES[label].title() for i, label in enumerate(order)}
    net.save_pretrained(tmp_path / "other")
    net.config.id2label = {i: f"LABEL_{i}" for i in range(6)}
    net.save_pretrained(tmp_path / "unnamed")
    given = {str(i): NAMES[label] for i, label in enumerate(order)}
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = []
    for folder, model in (("same", {}), ("other", {}), ("unnamed", {"class_map": given})):
        made, ours, said = built("mask2former", tmp_path / folder, **model)
        assert said.share == 1
        with torch.no_grad():
            maps.append(made.predict(ours, image))
    assert torch.allclose(maps[0], maps[1], atol=1e-5)
    assert torch.equal(maps[1], maps[2])
    _, ours, said = built("mask2former", tmp_path / "unnamed")  # as a file, which has no names
    assert ours.groups == tuple((index,) for index in range(6))
    assert "no names and are taken in the suite's order" in said.source
    net.config.id2label = {i: f"LABEL_{i + 1}" for i in range(6)}
    net.save_pretrained(tmp_path / "strange")
    with pytest.raises(WeightsError, match=r"0 LABEL_1, .* \| the suite's: tumor"):
        built("mask2former", tmp_path / "strange")
