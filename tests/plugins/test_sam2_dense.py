"""sam2_dense: upstream's encoder, a head for classes, v3's schedule and weights, any weights."""

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Batch, Context, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Weights
from benchbcss.weights.loading import settle

pytest.importorskip("sam2")

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)
GROUPS = ["decoder", "encoder_neck", "encoder_stages12", "encoder_stages34"]


def backend(name="sam2_dense", weights="none", *, evaluating=False, **overrides):
    entry = registry.load().backend(name)
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve(entry.info.recipe, "smoke", sets).model_dump()
    given = Weights.parse(str(weights))
    pixels = [100, 90, 30, 30, 5, 40]
    context = Context(0, torch.device("cpu"), given, False, pixels, evaluating=evaluating)
    torch.manual_seed(0)
    return entry.load()(TASK, recipe, context)


@pytest.fixture(scope="module")
def built():
    made = backend()
    return made, made.build()


def batch():
    g = torch.Generator().manual_seed(0)
    target = torch.randint(0, 6, (2, 8, 8), generator=g).repeat_interleave(8, 1)
    target = target.repeat_interleave(8, 2)
    target[:, :9] = 255
    return Batch(torch.rand(2, 3, 64, 64, generator=g), target, ["a", "b"], 0)


def test_the_encoder_is_upstreams(built):
    """The head sees what SAM2's own forward_image makes, before its decoder's convolutions."""
    from sam2.build_sam import build_sam2

    _, net = built
    theirs = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", mode="eval")
    theirs.image_encoder.load_state_dict(net.sam["image_encoder"].state_dict())
    pixels = torch.rand(1, 3, 96, 160)
    seen = []
    handle = net.head.register_forward_pre_hook(lambda _, given: seen.extend(given[0]))
    with torch.no_grad():
        net.eval()(pixels)
        expected = theirs.image_encoder(net.normalised(pixels))["backbone_fpn"]
    handle.remove()
    assert [level.shape[-2:] for level in seen] == [(24, 40), (12, 20), (6, 10)]
    for ours, level in zip(seen, expected, strict=True):
        assert torch.allclose(ours, level, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (40, 70), (33, 130)])
def test_logits_have_the_tiles_size(built, shape):
    made, net = built
    with torch.no_grad():
        logits = made.predict(net.eval(), torch.rand(2, 3, *shape))
    assert logits.shape == (2, 6, *shape)
    assert torch.isfinite(logits).all()


def test_groups_are_v3s_and_hold_every_parameter_once(built):
    made, net = built
    groups = made.parameter_groups(net)
    assert sorted(groups) == GROUPS
    ids = [id(p) for group in groups.values() for p in group]
    assert sorted(ids) == sorted(id(p) for p in net.parameters())


def test_it_trains_by_v3s_schedule_and_class_weights():
    ours = resolve("benchbcss_sam2:sam2_dense.yaml", "full")
    v3 = resolve("benchbcss_sam2:sam2_v3.yaml", "full")
    assert ours.train is not None
    same = set(type(ours.train).model_fields) - {"lr", "rare_class_probability"}
    for name in same:
        assert getattr(ours.train, name) == getattr(v3.train, name), name
    assert ours.loss["class_weights"] == v3.loss["class_weights"]
    assert ours.view.protocol == "suite"


def test_ignored_pixels_do_not_reach_the_loss(built):
    made, net = built
    given = batch()
    logits = net(given.image).detach().requires_grad_()
    sum(made.loss(lambda _: logits, given).values()).backward()
    assert (logits.grad[:, :, :9] == 0).all()
    assert (logits.grad[:, :, 9:] != 0).any()


def test_class_weights_scale_the_cross_entropy(built):
    """A mistake on a vessel weighs 15.9 times one on tumor."""
    made = backend(**{"loss.class_weights": "{tumor: 1.0, blood_vessel: 15.9}", "loss.dice": "0.0"})
    target = torch.zeros(1, 2, 2).long()
    target[:, 1] = 4
    logits = torch.zeros(1, 6, 2, 2)
    logits[:, 0] = 2.0
    given = Batch(torch.zeros(1, 3, 2, 2), target, ["a"], 0)
    ours = made.loss(lambda _: logits, given)["cross_entropy"]
    plain = torch.nn.functional.cross_entropy(logits, target, reduction="none")[0]
    expected = (plain[0].sum() + 15.9 * plain[1].sum()) / (2 + 2 * 15.9)
    assert ours == pytest.approx(float(expected))


def test_a_frozen_encoder_keeps_no_graph(built):
    made, net = built
    groups = made.parameter_groups(net)
    encoder = [p for name in groups if name != "decoder" for p in groups[name]]
    for parameter in encoder:
        parameter.requires_grad_(False)
    sum(made.loss(net, batch()).values()).backward()
    assert all(p.grad is None for p in encoder)
    assert all(p.grad is not None for p in groups["decoder"])
    for parameter in encoder:
        parameter.requires_grad_(True)


@pytest.mark.parametrize("packed", ["meta", "sam2_v3"])
def test_the_encoder_comes_from_metas_files_and_from_other_rows(packed, tmp_path):
    other = backend("sam2_v3").build()
    state = {"model": other.sam.state_dict()} if packed == "meta" else other.state_dict()
    torch.save(state, tmp_path / "weights.pt")
    made = backend(weights=tmp_path / "weights.pt")
    net = made.build()
    said = settle(net, made.context, "sam2_dense", made_here=made.made_here)
    assert 0 < said.share < 1
    assert all(name.startswith("head.") for name in said.missing)
    for name, tensor in other.sam.image_encoder.state_dict().items():
        assert torch.equal(net.sam["image_encoder"].state_dict()[name], tensor), name
    scored = backend(weights=tmp_path / "weights.pt", evaluating=True)
    with pytest.raises(WeightsError, match="cannot be evaluated"):
        settle(scored.build(), scored.context, "sam2_dense", made_here=scored.made_here)


def test_mistakes_are_named(tmp_path):
    other = backend("sam2_v3").build()
    torch.save(other.sam.state_dict(), tmp_path / "tiny.pt")
    with pytest.raises(WeightsError, match="are not of SAM2.1's image encoder 's'"):
        backend(weights=tmp_path / "tiny.pt", **{"model.variant": "s"}).build()
    with pytest.raises(RecipeError, match="no 'xl'. Known: t, s"):
        backend(**{"model.variant": "xl"}).build()
    with pytest.raises(RecipeError, match=r"model\.head_width must be a multiple of 8, got 12"):
        backend(**{"model.head_width": 12}).build()
    strict = backend(weights="auto")
    strict.context.strict_weights = True
    with pytest.raises(WeightsError, match=r"facebook/sam2\.1-hiera-tiny are not available"):
        strict.build()
