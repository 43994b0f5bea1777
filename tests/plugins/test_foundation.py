"""foundation: encoders as their libraries run them, what adapts, heads, weights, gating, TCGA."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Batch, Context, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.inference.embeddings import Embeddings
from benchbcss.recipes import resolve
from benchbcss.training.adapters import is_adapter
from benchbcss.weights import Weights, hub
from benchbcss.weights.loading import settle

pytest.importorskip("timm")
pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("benchbcss_hf")

import segmentation_models_pytorch as smp
import timm
from benchbcss_hf import FOUNDATION
from benchbcss_hf import foundation as plugin

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 56)
STAGES = {
    "model.head.kind": "unetpp",
    "model.encoder.name": "resnet18",
    "model.head.decoder_channels": "[32, 24, 16, 12, 8]",
}


def backend(weights="none", name="foundation", preset="smoke", *, evaluating=False, **overrides):
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve(f"benchbcss_hf:{name}.yaml", preset, sets).model_dump()
    given = Weights.parse(str(weights))
    context = Context(0, torch.device("cpu"), given, False, [9] * 6, evaluating=evaluating)
    torch.manual_seed(7)
    return registry.load().backend(name).load()(TASK, recipe, context)


def built(weights="none", **options):
    made = backend(weights, **options)
    net = made.build()
    return made, net, settle(net, made.context, "foundation", made_here=made.made_here)


def image(height=56, width=56):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def vit(**options):
    torch.manual_seed(3)
    sizes = {"embed_dim": 96, "depth": 4, "num_heads": 3, "dynamic_img_size": True}
    return timm.create_model("vit_large_patch14_reg4_dinov2", img_size=56, **sizes, **options)


# -- encoders ---------------------------------------------------------------------------------


def test_maps_of_a_timm_vit_are_its_own_tokens():
    _, net, _ = built()
    encoder = net.encoder.eval()
    pixels = net.normalised(image(56, 84))
    with torch.no_grad():
        maps = encoder(pixels)
        tokens = encoder.net.forward_features(pixels)[:, encoder.net.num_prefix_tokens :]
    assert [tuple(one.shape) for one in maps] == [(2, 96, 4, 6)] * 4
    assert torch.allclose(maps[-1].flatten(2).transpose(1, 2), tokens, atol=1e-5)


def test_maps_of_a_transformers_vit_are_its_own_tokens():
    _, net, _ = built(name="foundation_phikon2")
    pixels = net.normalised(image(48, 80))
    with torch.no_grad():
        maps = net.encoder.eval()(pixels)
        theirs = net.encoder.net(pixel_values=pixels).last_hidden_state[:, 1:]
    assert maps[-1].shape == (2, 96, 3, 5)
    assert torch.equal(maps[-1].flatten(2).transpose(1, 2), theirs)


@pytest.mark.parametrize("name", sorted(FOUNDATION))
def test_every_named_encoder_is_built_and_takes_any_size(name):
    made, net, said = built(name=name)
    assert said.source == "random"
    for height, width in ((56, 56), (40, 71), (17, 23)):
        with torch.no_grad():
            logits = made.predict(net.eval(), image(height, width))
        assert logits.shape == (2, 6, height, width)
        assert torch.isfinite(logits).all()


def test_named_encoders_have_the_published_number_of_parameters():
    """Millions, as the models' cards say; counted without allocating them."""
    published = {
        "foundation": 304,
        "foundation_dinov3": 303,
        "foundation_uni2h": 681,
        "foundation_virchow2": 631,
        "foundation_hoptimus0": 1135,
        "foundation_hoptimus1": 1135,
        "foundation_gigapath": 1135,
        "foundation_phikon2": 303,
        "foundation_conch": 86,
    }
    assert set(published) == set(FOUNDATION)
    for name, millions in published.items():
        with torch.device("meta"):
            encoder = backend(name=name, preset="full")._encoder()
        count = sum(p.numel() for p in encoder.parameters()) / 1e6
        assert count == pytest.approx(millions, rel=0.01), name


def test_named_recipes_are_short_and_say_where_weights_come_from():
    for name in FOUNDATION:
        model = resolve(f"benchbcss_hf:{name}.yaml", "full").model
        assert model["encoder"]["weights"]
        assert model["pretraining"]["tcga"] in ("yes", "no", "not declared", "unconfirmed")
        assert model["pretraining"]["licence"]
        if name != "foundation":
            path = resources.files("benchbcss_hf") / f"{name}.yaml"
            assert len(path.read_text().splitlines()) <= 10, name


def test_the_page_and_the_list_say_what_the_recipes_say():
    page = Path(__file__).parents[2] / "docs" / "foundation.md"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("| `foundation")
    ]
    said = {name.strip("`"): cells for name, _, *cells in rows}
    assert said.keys() == FOUNDATION.keys()
    for name, summary in FOUNDATION.items():
        model = resolve(f"benchbcss_hf:{name}.yaml", "full").model
        about, encoder = model["pretraining"], model["encoder"]
        kept = encoder["config"] if encoder["library"] == "transformers" else encoder["arguments"]
        patch = kept.get("patch_size") or re.search(r"patch(\d+)", encoder["name"])[1]
        side = kept.get("image_size") or kept["img_size"]
        assert said[name] == [
            f"[{encoder['weights']}](https://huggingface.co/{encoder['weights']})",
            str(side),
            str(patch),
            str(model["mpp"] or "as the suite"),
            about["licence"],
            "yes" if about["gated"] else "no",
            about["tcga"],
        ], name
        assert ("TCGA was in its pretraining" in summary) == (about["tcga"] == "yes"), name


def test_the_encoder_sees_the_pixel_size_that_it_expects():
    """At 0.30 um per pixel and an encoder of 0.60, half as many pixels."""
    made, net, _ = built(**{"model.mpp": 0.6})
    seen = []
    net.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2:]))
    with torch.no_grad():
        assert made.predict(net, image(112, 140)).shape == (2, 6, 112, 140)
        assert made.predict(net, image(50, 33)).shape == (2, 6, 50, 33)
    assert [tuple(shape) for shape in seen] == [(56, 70), (28, 28)]
    assert built()[1].scale == 1


# -- adaptation -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", plugin.ADAPTATIONS)
def test_what_learns_is_as_the_adaptation_says(kind):
    made, net, _ = built(**{"model.adaptation.kind": kind})
    net.train()
    target = torch.randint(0, 6, (2, 56, 56), generator=torch.Generator().manual_seed(1))
    sum(made.loss(net, Batch(image(), target, ["a", "b"], 0)).values()).backward()
    groups = made.parameter_groups(net)
    inside = [n for n, p in net.encoder.named_parameters() if p.grad is not None]
    if kind == "frozen":
        assert set(groups) == {"head"}
        assert not inside
        assert not net.encoder.training
        assert net.head.training
    elif kind == "full":
        assert set(groups) == {"encoder", "head"}
        assert {id(p) for p in groups["encoder"]} == {id(p) for p in net.encoder.parameters()}
        assert any("patch_embed" in name for name in inside)
    else:
        assert set(groups) == {"adapters", "head"}
        assert inside
        assert all(is_adapter(name) for name in inside)
        assert any("magnitude" in name for name in inside) == (kind == "dora")
    learning = {id(p) for p in net.parameters() if p.requires_grad}
    assert learning == {id(p) for group in groups.values() for p in group}


# -- heads ------------------------------------------------------------------------------------


def test_a_linear_head_is_one_layer_on_the_last_map():
    _, net, _ = built(**{"model.head.kind": "linear", "model.head.layers": 1})
    assert sum(p.numel() for p in net.head.parameters()) == 96 * 6 + 6
    with torch.no_grad():
        maps = net.encoder.eval()(image())
        weight = net.head.classify.weight[:, :, 0, 0]
        expected = torch.einsum("bchw,kc->bkhw", maps[-1], weight)
        expected = expected + net.head.classify.bias[:, None, None]
        assert torch.allclose(net.head(maps, image()), expected, atol=1e-5)


def test_the_pyramids_finest_level_is_at_a_quarter_of_a_patch():
    _, net, _ = built()
    with torch.no_grad():
        assert net.head(net.encoder.eval()(image()), image()).shape == (2, 6, 16, 16)


def test_the_unetpp_decoder_is_smps_own():
    """smp's UnetPlusPlus with timm's encoder and our weights gives our logits."""
    made, net, _ = built(**STAGES)
    torch.manual_seed(0)
    theirs = smp.UnetPlusPlus(
        "tu-resnet18", encoder_weights=None, classes=6, decoder_channels=[32, 24, 16, 12, 8]
    ).eval()
    theirs.encoder.model.load_state_dict(net.encoder.net.state_dict())
    theirs.decoder.load_state_dict(net.head.decoder.state_dict())
    theirs.segmentation_head[0].load_state_dict(net.head.classify.state_dict())
    pixels = image(64, 96)
    with torch.no_grad():
        expected = theirs(net.normalised(pixels))
        assert torch.allclose(made.predict(net.eval(), pixels), expected, atol=1e-4)


def test_convolutions_take_adapters_too():
    layers = {"model.adaptation.layers": "[conv1, conv2]", "model.adaptation.kind": "lora"}
    made, net, _ = built(**STAGES, **layers)
    groups = made.parameter_groups(net)
    assert set(groups) == {"adapters", "head"}
    with torch.no_grad():
        assert made.predict(net.eval(), image(40, 71)).shape == (2, 6, 40, 71)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.head.kind": "mlp"}, "no 'mlp'. Known: linear, fpn, unetpp"),
        ({"model.head.layers": 3}, "kind=fpn needs model.head.layers=4, got 3"),
        ({"model.head.layers": 9}, "must be 1 to the encoder's 4, got 9"),
        ({"model.head.width": 60}, "must be a multiple of 8, got 60"),
        ({"model.adaptation.kind": "qlora"}, "no 'qlora'. Known: frozen, lora, dora, full"),
        ({"model.encoder.library": "keras"}, "no 'keras'. Known: timm, transformers"),
        ({"model.encoder.name": "vit_nothing"}, "'vit_nothing' does not make a network of timm"),
        ({**STAGES, "model.encoder.name": "convnext_atto"}, "a stage at every halving"),
        ({**STAGES, "model.head.decoder_channels": "[8, 8]"}, "needs 5 widths"),
    ],
)
def test_mistakes_in_the_recipe_are_named(overrides, words):
    with pytest.raises(RecipeError, match=words.replace(".", r"\.")):
        backend(**overrides).build()


# -- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["frozen", "lora", "full"])
def test_a_published_encoder_loads_under_every_adaptation_and_is_never_scored(kind, tmp_path):
    published = vit(num_classes=11)
    torch.save(published.state_dict(), tmp_path / "pytorch_model.bin")
    overrides = {"model.adaptation.kind": kind}
    _, net, said = built(tmp_path / "pytorch_model.bin", **overrides)
    assert 0 < said.share < 1
    assert all(is_adapter(name) or name.startswith("head.") for name in said.missing)
    pixels = net.normalised(image())
    with torch.no_grad():
        ours = net.encoder.eval()(pixels)[-1].flatten(2).transpose(1, 2)
        theirs = published.eval().forward_features(pixels)[:, published.num_prefix_tokens :]
    assert torch.allclose(ours, theirs, atol=1e-5)
    with pytest.raises(WeightsError, match="cannot be evaluated"):
        built(tmp_path / "pytorch_model.bin", evaluating=True, **overrides)


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_a_vision_tower_is_taken_out_of_a_file_with_a_text_tower(wrapper, tmp_path):
    """As CONCH's file has it: a trunk of timm, attentional poolers, text, and a temperature."""
    published = vit(num_classes=0)
    beside = {"visual.attn_pool_contrast.query": 3, "visual.ln_contrast.weight": 5}
    beside |= {"text.transformer.resblocks.0.ln_1.weight": 7, "text_decoder.ln_final.bias": 7}
    state = {f"{wrapper}visual.trunk.{name}": t for name, t in published.state_dict().items()}
    state |= {wrapper + name: torch.ones(size) for name, size in beside.items()}
    torch.save({"state_dict": state} if wrapper else state, tmp_path / "pytorch_model.bin")
    _, net, said = built(tmp_path / "pytorch_model.bin")
    assert "visual.trunk." in said.wrapping
    assert all(is_adapter(name) or name.startswith("head.") for name in said.missing)
    encoder = net.encoder.state_dict()
    for name, tensor in published.state_dict().items():
        assert torch.equal(encoder[f"net.{name}"], tensor), name
    short = {name: t for name, t in state.items() if "blocks.3" not in name}
    torch.save(short, tmp_path / "short.bin")
    with pytest.raises(WeightsError, match=r"short\.bin are not of .*: it lacks blocks\.3\."):
        built(tmp_path / "short.bin")


def test_an_encoder_of_another_size_is_named(tmp_path):
    state = vit(num_classes=0).state_dict()
    torch.save({k: v for k, v in state.items() if "blocks.3" not in k}, tmp_path / "short.pt")
    with pytest.raises(WeightsError, match=r"short\.pt are not of .*: it lacks blocks\.3\."):
        built(tmp_path / "short.pt")


def test_an_encoder_with_parts_that_the_recipes_has_not_is_refused(tmp_path):
    """Shapes agree, and patches and positions are resampled, but the maps would be others."""
    sizes = {"embed_dim": 96, "num_heads": 3, "dynamic_img_size": True, "img_size": 56}
    scaled = timm.create_model("vit_large_patch14_dinov2", depth=4, **sizes)
    torch.save(scaled.state_dict(), tmp_path / "scaled.pt")
    with pytest.raises(WeightsError, match=r"blocks\.0\.ls1\.gamma is unknown"):
        built(tmp_path / "scaled.pt", name="foundation_conch")
    deep = timm.create_model("vit_large_patch14_reg4_dinov2", depth=5, **sizes)
    torch.save(deep.state_dict(), tmp_path / "deep.pt")
    with pytest.raises(WeightsError, match=r"blocks\.4\.norm1\.weight is unknown"):
        built(tmp_path / "deep.pt")
    pooled = {f"{name}.weight": torch.ones(96) for name in ("head", "fc_norm", "dino_head.mlp.0")}
    torch.save({**vit(num_classes=0).state_dict(), **pooled}, tmp_path / "pooled.pt")
    assert 0 < built(tmp_path / "pooled.pt")[2].share < 1


@pytest.mark.parametrize("kind", ["frozen", "dora", "full"])
def test_our_own_checkpoint_is_scored(kind, tmp_path):
    overrides = {"model.adaptation.kind": kind}
    _, source, _ = built(**overrides)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.01)
    torch.save(source.state_dict(), tmp_path / "own.pt")
    _, net, said = built(tmp_path / "own.pt", evaluating=True, **overrides)
    assert said.share == 1
    for name, tensor in source.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor), name


def test_a_transformers_folder_brings_its_architecture(tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 5, "num_attention_heads": 2}
    theirs = Dinov2Model(Dinov2Config(**sizes, patch_size=16, image_size=64)).eval()
    theirs.save_pretrained(tmp_path)
    _, net, said = built(tmp_path, name="foundation_phikon2", **{"model.adaptation.kind": "lora"})
    assert said.source.startswith("file: ")
    assert all(is_adapter(name) or name.startswith("head.") for name in said.missing)
    pixels = net.normalised(image(48, 48))
    with torch.no_grad():
        ours = net.encoder.eval()(pixels)[-1].flatten(2).transpose(1, 2)
        assert torch.allclose(ours, theirs(pixel_values=pixels).last_hidden_state[:, 1:], atol=1e-5)


def vit_folder(folder, *, prefix="", without="\0", **said):
    """A ViT of transformers with five blocks; its file with a prefix, or without some of its
    tensors, beside a configuration that says otherwise."""
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 48, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 64}
    made = ViTModel(ViTConfig(**sizes, num_hidden_layers=5), add_pooling_layer=False)
    state = {prefix + k: v for k, v in made.state_dict().items() if without not in k}
    made.save_pretrained(folder, state_dict=state)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **said}))
    return folder


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prefix": "student."}, "they lack embeddings"),
        ({"without": ".3."}, r"they lack .*3\."),
        ({"num_hidden_layers": 6}, r"they lack .*5\."),
        ({"num_hidden_layers": 4}, r"it has no .*4\."),
    ],
    ids=str,
)
def test_a_transformers_folder_whose_parts_disagree_is_refused(wrong, words, tmp_path):
    """transformers only warns, and leaves what it does not find at a random start."""
    with pytest.raises(WeightsError, match=f"that their config.json describes: ({words})"):
        built(vit_folder(tmp_path, **wrong), name="foundation_phikon2")


def test_what_is_behind_the_maps_may_be_absent_and_is_not_said_to_be_loaded(tmp_path):
    _, _, said = built(vit_folder(tmp_path), name="foundation_phikon2")
    assert set(said.missing) >= {"encoder.net.pooler.dense.weight", "encoder.net.pooler.dense.bias"}


def test_pretraining_on_tcga_is_recorded_for_the_recipes_own_weights_alone(tmp_path, monkeypatch):
    torch.save(vit(num_classes=0).state_dict(), tmp_path / "pytorch_model.bin")
    overrides = {"model.encoder.weights": "owner/slides", "model.pretraining.tcga": "'yes'"}

    def had(repository, filename, revision):
        assert repository == "owner/slides"
        if filename != "pytorch_model.bin":
            return "there is no such file"
        return tmp_path / filename

    monkeypatch.setattr(hub, "_fetched", had)
    _, _, said = built("auto", **overrides)
    assert (said.source, said.tcga_overlap) == ("pretrained: owner/slides", "yes")
    assert said.share > 0
    _, _, said = built(tmp_path / "pytorch_model.bin", **overrides)
    assert said.tcga_overlap == "not declared"
    assert built("none", **overrides)[2].tcga_overlap == "not declared"


@pytest.mark.parametrize("name", ["foundation_uni2h", "foundation_phikon2", "foundation"])
def test_weights_that_cannot_be_had_say_where_gated_ones_are_asked_for(name):
    source = resolve(f"benchbcss_hf:{name}.yaml", "full").model["encoder"]["weights"]
    small = {"model.encoder.weights": source}
    made = backend("auto", name=name, **small)
    made.context.strict_weights = True
    with pytest.raises(WeightsError, match=f"{source} are not available") as caught:
        made.build()
    if name != "foundation_phikon2":  # whichever of two names its file has
        assert f"`hf download {source} --local-dir DIR`" in str(caught.value)
    asked = "ask for access at https://huggingface.co/MahmoodLab/UNI2-h" in str(caught.value)
    assert asked == (name == "foundation_uni2h")
    loose = backend("auto", name=name, **small)
    loose.build()
    assert f"random (pretrained weights {source} were not" in loose.context.provenance.source


@pytest.mark.parametrize("change", ["in place", "replaced", "loaded", "assigned", "precision"])
def test_other_weights_ask_for_other_entries(tmp_path, change):
    """However they came into a network that has asked already."""
    made = backend(**{"model.adaptation.kind": "frozen"})
    made.context.embeddings = Embeddings(tmp_path)
    net = made.build().eval()
    image = torch.rand(1, 3, 28, 28)
    net(image)
    net(image)
    assert (net.cache.computed, net.cache.read) == (1, 1)
    other = {name: tensor + 0.1 for name, tensor in net.state_dict().items()}
    norm = net.encoder.net.norm
    if change == "in place":
        with torch.no_grad():
            norm.weight += 0.1
    elif change == "replaced":
        norm.weight = torch.nn.Parameter(norm.weight + 0.1, requires_grad=False)
    elif change == "precision":
        net.double()
        image = image.double()
    else:
        net.load_state_dict(other, assign=change == "assigned")
    changed = net(image)
    assert net.cache.computed == 2
    net.cache = None
    assert torch.equal(changed, net(image))


def test_a_frozen_encoder_stays_as_it_is_evaluated(tmp_path):
    net = backend(**{"model.adaptation.kind": "frozen"}).build()
    for mode in (True, False, True):
        net.train(mode)
        assert [net.training, net.head.training] == [mode, mode]
        assert all(part.training == mode for part in net.head.modules())
        assert not any(part.training for part in net.encoder.modules())
