"""The dense backends: shapes, ignore, learning, weights."""

import numpy as np
import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Batch, Context, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Weights, hub

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)
DENSE = ["unetpp", "transunet", "segformer", "mask2former", "eomt"]
QUERIES = ["mask2former", "eomt"]


def backend(name, weights="none", preset="smoke", **overrides):
    entry = registry.load().backend(name)
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve(entry.info.recipe, preset, sets)
    context = Context(
        0, torch.device("cpu"), Weights.parse(weights), False, [900, 800, 300, 300, 50, 400]
    )
    torch.manual_seed(0)
    return entry.load()(TASK, recipe.model_dump(), context)


def batch(size=64):
    g = torch.Generator().manual_seed(0)
    target = torch.randint(0, 6, (2, 8, 8), generator=g)
    target = target.repeat_interleave(size // 8, 1).repeat_interleave(size // 8, 2)
    image = torch.stack([((target * 7 + c * 3) % 11) / 11 for c in range(3)], 1)
    target = target.clone()
    target[:, :9] = 255
    return image, target


def total(made, net, image, target):
    torch.manual_seed(1)
    return sum(made.loss(net, Batch(image, target, ["a", "b"], 0)).values())


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("shape", [(64, 64), (40, 70), (33, 96)])
def test_logits_have_the_tiles_size(name, shape):
    made = backend(name)
    net = made.build().eval()
    with torch.no_grad():
        logits = made.predict(net, torch.rand(2, 3, *shape))
    assert logits.shape == (2, 6, *shape)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", DENSE)
def test_parameter_groups_hold_every_parameter_once(name):
    made = backend(name)
    net = made.build()
    groups = made.parameter_groups(net)
    ids = [id(p) for group in groups.values() for p in group]
    assert sorted(ids) == sorted(id(p) for p in net.parameters())


@pytest.mark.parametrize("name", DENSE)
def test_labels_under_ignored_pixels_change_neither_loss_nor_gradient(name, monkeypatch):
    """The target says what is ignored; whatever was labelled there before must not matter.

    Image labels under ignored pixels are gone by then (255), so the test changes the logits'
    input there instead: the gradient at the output must vanish on ignored pixels."""
    made = backend(name)
    net = made.build().train()
    image, target = batch()
    if name not in QUERIES:
        logits = net(image).detach().requires_grad_()
        total(made, lambda _: logits, image, target).backward()
        assert (logits.grad[:, :, :9] == 0).all()
        assert (logits.grad[:, :, 9:] != 0).any()
        return
    layers = [
        (c.detach().requires_grad_(), m.detach().requires_grad_()) for c, m in net.queries(image)
    ]
    monkeypatch.setattr(net, "queries", lambda *_: layers)
    first = total(made, net, image, target)
    first.backward()
    for _, masks in layers:
        # masks are at a quarter of the size: rows 0 and 1 touch ignored pixels 0 to 8 only
        assert (masks.grad[:, :, :1] == 0).all()
        assert (masks.grad[:, :, 4:] != 0).any()
    moved = [(c, (m + 20 * (torch.arange(m.shape[2]) < 1)[:, None]).detach()) for c, m in layers]
    monkeypatch.setattr(net, "queries", lambda *_: moved)
    assert torch.allclose(total(made, net, image, target), first)


@pytest.mark.parametrize("name", DENSE)
def test_a_batch_without_a_known_pixel_teaches_nothing(name):
    made = backend(name)
    net = made.build()
    image, target = batch()
    loss = total(made, net, image, torch.full_like(target, 255))
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("unetpp", 80),
        ("transunet", 100),
        ("segformer", 120),
        ("mask2former", 150),
        ("eomt", 150),
    ],
)
def test_one_batch_can_be_learnt(name, steps):
    """In so many steps at most; looked at every tenth."""
    from benchbcss.scoring import confusion_counts, pooled

    made = backend(name)
    net = made.build()
    image, target = batch()
    truth = target.byte().numpy()

    def dice():
        net.eval()
        with torch.no_grad():
            labels = made.predict(net, image).argmax(1).byte().numpy()
        counts = [confusion_counts(t, p, 6) for t, p in zip(truth, labels, strict=True)]
        return pooled(np.stack(counts), range(6)).mean

    assert dice() < 0.5
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for step in range(steps):
        torch.manual_seed(step)
        net.train()
        optimizer.zero_grad()
        sum(made.loss(net, Batch(image, target, ["a", "b"], step)).values()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 9 and dice() > 0.95:
            return
    pytest.fail(f"{steps} steps reach a Dice of {dice():.2f} only")


@pytest.mark.parametrize("name", DENSE)
def test_prediction_is_deterministic_and_does_not_mix_the_batch(name):
    made = backend(name)
    net = made.build().eval()
    image, _ = batch()
    with torch.no_grad():
        both, one = made.predict(net, image), made.predict(net, image[:1])
        assert torch.equal(both, made.predict(net, image))
    assert torch.allclose(both[:1], one, atol=1e-4)


@pytest.mark.parametrize("name", DENSE)
def test_our_own_checkpoint_comes_back(name, tmp_path):
    from benchbcss.training.checkpoint import save_checkpoint

    source = backend(name).build()
    save_checkpoint(tmp_path, "final", source, None, {})
    path = tmp_path / "checkpoints" / "final.safetensors"
    made = backend(name, weights=str(path))
    torch.manual_seed(5)
    net = made.build()
    for key, value in source.state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key
    assert made.context.provenance.source.startswith("file: ")


@pytest.mark.parametrize("name", DENSE)
def test_mistaken_weights_are_named(name, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt"):
        backend(name, weights=str(tmp_path / "other.pt")).build()
    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(WeightsError, match="truncated"):
        backend(name, weights=str(tmp_path / "torn.pt")).build()
    with pytest.raises(WeightsError, match="does not exist"):
        backend(name, weights=str(tmp_path / "none.pt")).build()
    with pytest.raises(WeightsError, match="owner/nothing are not available"):
        backend(name, weights="owner/nothing").build()


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("unetpp", {"model.encoder": "resnet35"}, "no encoder 'resnet35'. Did you mean resnet"),
        ("unetpp", {"loss.class_weights": "inversed"}, "no scheme 'inversed'"),
        ("segformer", {"model.variant": "b6"}, "no 'b6'. Known: b0, b1, b2"),
        ("mask2former", {"model.variant": "huge"}, "no 'huge'. Known: tiny"),
        ("eomt", {"model.variant": "huge"}, "no 'huge'. Known: dinov2_small"),
    ],
)
def test_mistakes_in_the_recipe(name, override, message):
    made = backend(name, **override)
    with pytest.raises(RecipeError, match=message.replace(".", r"\.")):
        total(made, made.build(), *batch())


def test_full_size_networks_have_the_published_size():
    def millions(name, **overrides):
        net = backend(name, preset="full", **overrides).build()
        return sum(p.numel() for p in net.parameters()) / 1e6

    assert millions("unetpp") == pytest.approx(26.1, abs=0.5)  # smp's UNet++ with resnet34
    assert millions("transunet") == pytest.approx(105.3, abs=1)  # Chen et al. 2021
    assert millions("mask2former") == pytest.approx(47, abs=1.5)  # Cheng et al. 2022, Swin-T
    for variant, published in (("b0", 3.8), ("b2", 27.5), ("b5", 84.7)):  # Xie et al. 2021
        found = millions("segformer", **{"model.variant": variant})
        assert found == pytest.approx(published, rel=0.03), variant


@pytest.mark.parametrize("name", DENSE)
def test_without_weights_full_is_an_error_and_says_how_to_get_them(name):
    made = backend(name, weights="auto", preset="full")
    made.context.strict_weights = True
    with pytest.raises(
        WeightsError,
        match=r"hf download .* or start from random weights with --weights none",
    ):
        made.build()


@pytest.mark.parametrize("name", DENSE)
def test_the_seed_decides_random_weights(name):
    first, again = backend(name).build(), backend(name).build()
    states = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


TIMMS = {
    "test_efficientnet": "[16,12,8,8,8]",
    "test_resnet": "[16,12,8,8,8]",
    "convnext_atto": "[16,12,8,8]",
}


@pytest.mark.parametrize("encoder", TIMMS)
def test_unetpp_takes_the_file_that_timm_publishes(encoder, tmp_path):
    """As the message says where there is no network: downloaded, and passed by its path. It names
    tensors as timm's whole network does, a classifier among them."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(5)
    published = timm.create_model(encoder).state_dict()
    path = tmp_path / "model.safetensors"
    overrides = {"model.encoder": f"tu-{encoder}", "model.decoder_channels": TIMMS[encoder]}
    save_file(published, path)
    made = backend("unetpp", str(path), **overrides)
    state = made.build().state_dict()
    inside = {name: value for name, value in state.items() if name.startswith("net.encoder.")}
    values = [value for value in published.values() if value.ndim > 1]
    weights = [value for value in inside.values() if value.ndim > 1]
    assert weights
    for value in weights:
        assert any(value.shape == other.shape and torch.equal(value, other) for other in values)
    assert made.context.provenance.source.startswith("file: ")
    lacking = next(n for n, v in published.items() if v.ndim == 4 and "stem" not in n)
    save_file({name: v for name, v in published.items() if name != lacking}, path)
    with pytest.raises(WeightsError, match=f"not those of timm's {encoder}: 1 of its tensors"):
        backend("unetpp", str(path), **overrides).build()


def test_unetpp_refuses_the_file_of_another_encoder_of_timm(tmp_path, monkeypatch):
    import timm
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    overrides = {"model.encoder": "tu-test_efficientnet"}
    with pytest.raises(WeightsError, match="are not those of timm's test_efficientnet"):
        backend("unetpp", str(path), **overrides).build()
    monkeypatch.setattr(hub, "_fetched", lambda repository, name, revision: path)
    with pytest.raises(WeightsError, match=r"owner/name are not those of timm's test_efficientnet"):
        backend("unetpp", "owner/name", **overrides).build()
    save_file(timm.create_model("test_efficientnet").state_dict(), path)
    made = backend("unetpp", "owner/name", **overrides)
    made.build()
    assert made.context.provenance.source == "pretrained: owner/name"
