"""segformer: the paper's sizes, transformers' scores, ImageNet encoders as published."""

import json

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Context, Task
from benchbcss.errors import WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Hub, Weights
from benchbcss.weights.loading import settle

pytest.importorskip("transformers")
pytest.importorskip("benchbcss_hf")

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)


def built(weights, preset="smoke", *, evaluating=False, **overrides):
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve("benchbcss_hf:segformer.yaml", preset, sets).model_dump()
    given = Weights.parse(str(weights))
    context = Context(0, torch.device("cpu"), given, False, [9] * 6, evaluating=evaluating)
    made = registry.load().backend("segformer").load()(TASK, recipe, context)
    torch.manual_seed(7)
    net = made.build()
    return made, net, settle(net, context, "segformer", made_here=made.made_here)


def test_logits_are_transformers_own_enlarged_from_a_quarter(tmp_path):
    made, net, _ = built("none")
    net.eval()
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = net.net(pixel_values=(image - net.mean) / net.std).logits
        assert logits.shape == (2, 6, 16, 24)
        enlarged = torch.nn.functional.interpolate(logits, (64, 96), mode="bilinear")
        assert torch.allclose(made.predict(net, image), enlarged, atol=1e-6)


def test_full_trains_from_the_variants_imagenet_encoder():
    recipe = resolve("benchbcss_hf:segformer.yaml", "full", ("model.variant=b5",)).model_dump()
    context = Context(0, torch.device("cpu"), Weights.parse("auto"), True, [9] * 6)
    made = registry.load().backend("segformer").load()(TASK, recipe, context)
    assert made.automatic_weights(made.recipe) == Hub(id="nvidia/mit-b5")
    with pytest.raises(WeightsError, match="nvidia/mit-b5 are not available"):
        made.build()


def test_an_imagenet_classifier_gives_its_encoder_and_is_never_scored(tmp_path):
    """As nvidia/mit-b0 is published: SegformerForImageClassification of 1000 classes."""
    from transformers import SegformerConfig, SegformerForImageClassification

    sizes = resolve("benchbcss_hf:segformer.yaml", "smoke").model["variants"]["mini"]
    config = SegformerConfig(**{k: v for k, v in sizes.items() if k != "weights"}, num_labels=20)
    torch.manual_seed(3)
    published = SegformerForImageClassification(config)
    published.save_pretrained(tmp_path)
    about = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    _, net, said = built(tmp_path)
    assert 0 < said.share < 1
    assert all(name.startswith("net.decode_head.") for name in said.missing)
    for name, tensor in published.segformer.state_dict().items():
        assert torch.equal(net.net.segformer.state_dict()[name], tensor), name
    assert net.mean.flatten().tolist() == [0.5] * 3
    assert net.net.config.num_labels == 6
    with pytest.raises(WeightsError, match="LABEL_0"):
        built(tmp_path, evaluating=True)


def test_every_parameter_is_in_the_backbone_or_the_head():
    made, net, _ = built("none")
    groups = made.parameter_groups(net)
    assert set(groups) == {"backbone", "head"}
    head = {id(p) for p in net.net.decode_head.parameters()}
    assert {id(p) for p in groups["head"]} == head
