"""eomt: upstream's forward pass, annealed masks, DINOv2 and DINOv3 backbones, ignored pixels."""

from itertools import pairwise

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Batch, Context, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Hub, Weights
from benchbcss.weights.loading import settle

pytest.importorskip("transformers")
pytest.importorskip("benchbcss_mask2former")

from benchbcss_mask2former import eomt_weights as stored
from benchbcss_mask2former.eomt import annealed
from benchbcss_mask2former.eomt_network import resampled_positions

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)
MINIS = ["mini", "mini_dinov3"]


def backend(weights="none", preset="smoke", *, evaluating=False, **overrides):
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve("benchbcss_mask2former:eomt.yaml", preset, sets).model_dump()
    given = Weights.parse(str(weights))
    context = Context(0, torch.device("cpu"), given, False, [9] * 6, evaluating=evaluating)
    torch.manual_seed(7)
    return registry.load().backend("eomt").load()(TASK, recipe, context)


def built(weights="none", **options):
    made = backend(weights, **options)
    net = made.build()
    return made, net, settle(net, made.context, "eomt", made_here=made.made_here)


def image(height=64, width=64):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def batch():
    """Two images of 64 px whose left half is ignored."""
    g = torch.Generator().manual_seed(0)
    target = torch.randint(0, 6, (2, 8, 8), generator=g).repeat_interleave(8, 1)
    target = target.repeat_interleave(8, 2)
    target[:, :, :32] = 255
    return image(), target


@pytest.mark.parametrize("variant", MINIS)
def test_every_block_predicts_what_upstreams_own_forward_pass_does(variant):
    """Upstream's class, its weights and its image size; in training with all attention masked."""
    _, net, _ = built(**{"model.variant": variant})
    plain = type(net.net).__mro__[2](net.net.config)
    plain.load_state_dict(net.net.state_dict(), strict=False)
    net.train(), plain.train()
    pixels = image(256, 256) if variant == "mini" else image(640, 640)[:1]
    seen = []
    handle = plain.class_predictor.register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        torch.manual_seed(1)
        plain.attn_mask_probs = torch.ones(2)
        theirs = plain(pixel_values=net.normalised(pixels))
        torch.manual_seed(1)
        ours = net.queries(pixels, torch.ones(2))
    handle.remove()
    assert len(ours) == 3  # before each of the last two blocks, and after them
    for (classes, _), expected in zip(ours, seen, strict=True):
        assert torch.allclose(classes, expected, atol=1e-5)
    assert torch.allclose(ours[-1][1], theirs.masks_queries_logits, atol=1e-4)


@pytest.mark.parametrize("variant", MINIS)
def test_masks_are_at_a_quarter_and_any_size_is_taken(variant):
    made, net, _ = built(**{"model.variant": variant})
    net.eval()
    for height, width in ((64, 64), (40, 72), (33, 97)):
        with torch.no_grad():
            logits = made.predict(net, image(height, width))
        assert logits.shape == (2, 6, height, width)
        assert torch.isfinite(logits).all()
    with torch.no_grad():
        ((classes, masks),) = net.queries(image(64, 96))
    assert classes.shape == (2, 12, 7)
    assert masks.shape == (2, 12, 16, 24)


def test_masked_attention_is_annealed_block_after_block():
    assert annealed(2, 0.0, 0.9).tolist() == [1, 1]
    assert annealed(2, 0.25, 0.9).tolist() == [1, 1]
    assert annealed(2, 0.375, 0.9).tolist() == pytest.approx([0.5**0.9, 1])
    assert annealed(2, 0.5, 0.9).tolist() == [0, 1]
    assert annealed(2, 0.625, 0.9).tolist() == pytest.approx([0, 0.5**0.9])
    assert annealed(2, 0.75, 0.9).tolist() == [0, 0]
    assert annealed(2, 1.0, 0.9).tolist() == [0, 0]


def test_annealing_is_that_of_the_authors_schedule():
    """Of EoMT-L: one block after the other, from a sixth of the training to five sixths."""
    for block in range(4):
        falling = [s for s in range(6000) if 0 < annealed(4, s / 6000, 0.9)[block] < 1]
        assert (falling[0], falling[-1]) == (1000 * (block + 1) + 1, 1000 * (block + 2) - 1)
        assert float(annealed(4, (block + 1.25) / 6, 0.9)[block]) == pytest.approx(0.75**0.9)


@pytest.mark.parametrize(
    ("steps", "bounds"),
    [
        (31 * (20_210 // 16), (6520, 13_040, 19_560, 26_080, 32_600)),
        (12 * (118_287 // 16), (14_782, 29_564, 44_346, 59_128, 73_910)),
    ],
    ids=["ADE20K, 31 epochs", "COCO, 12 epochs"],
)
def test_annealing_is_that_of_the_published_configurations(steps, bounds):
    """EoMT-L of the authors' repository: where each block begins, and the next one, at batch 16;
    the share (1 - t) ** 0.9 between the two. Their bounds are rounded by a thousandth at most."""
    for step in range(0, steps, 97):
        published = [
            (1 - min(max((step - begin) / (end - begin), 0), 1)) ** 0.9
            for begin, end in pairwise(bounds)
        ]
        assert annealed(4, step / steps, 0.9).tolist() == pytest.approx(published, abs=0.02)


def test_a_recipe_that_counts_steps_trains_no_more_but_predicts():
    made = backend()
    made.recipe["model"]["annealing"] = {"begin": 50, "end": 250, "power": 0.9}
    net = made.build()
    assert torch.isfinite(net.eval()(image())).all()
    pixels, target = batch()
    with pytest.raises(RecipeError, match="expected a power alone"):
        made.loss(net.train(), Batch(pixels, target, ["a", "b"], 0))


@pytest.mark.parametrize("name", ["full", "smoke"])
def test_masks_are_gone_at_the_end_of_every_budget(name):
    """Prediction attends everywhere, so training must end so."""
    recipe = resolve("benchbcss_mask2former:eomt.yaml", name).model
    blocks = recipe["variants"][recipe["variant"]]["blocks"]
    for steps in (8, 60, 1000, 20_000):
        begun, ended = (
            annealed(blocks, step / steps, recipe["annealing"]["power"]) for step in (0, steps - 1)
        )
        assert begun.tolist() == [1] * blocks
        assert ended.tolist() == [0] * blocks


def test_masks_matter_in_training_and_never_when_predicting():
    _, net, _ = built()
    pixels = image()
    net.train()
    with torch.no_grad():
        masked, free = net.queries(pixels, torch.ones(2)), net.queries(pixels, torch.zeros(2))
        assert torch.allclose(masked[0][0], free[0][0])  # before the first masked block
        assert not torch.allclose(masked[-1][0], free[-1][0])
        net.eval()
        assert torch.allclose(net.queries(pixels)[-1][0], free[-1][0], atol=1e-5)
    assert not net.net.attn_mask_probs.any()
    assert not any("attn_mask_probs" in name for name in net.state_dict())


@pytest.mark.parametrize("variant", MINIS)
def test_what_lies_under_ignored_pixels_changes_neither_loss_nor_gradient(variant, monkeypatch):
    """Mask logits there are moved by 20, in every layer that predicts."""
    made, net, _ = built(**{"model.variant": variant})
    net.train()
    pixels, target = batch()
    layers = [(c.detach(), m.detach()) for c, m in net.queries(pixels, torch.ones(2))]

    def run(shift):
        moved = []
        for classes, masks in layers:
            columns = torch.arange(masks.shape[-1])
            shifted = masks + shift * (columns < 7)  # column 7 is blended into column 8's pixels
            moved.append((classes.clone().requires_grad_(), shifted.requires_grad_()))
        monkeypatch.setattr(net, "queries", lambda *_: moved)
        torch.manual_seed(1)
        loss = sum(made.loss(net, Batch(pixels, target, ["a", "b"], 0)).values())
        loss.backward()
        return loss.detach(), moved

    first, plain = run(0.0)
    second, moved = run(20.0)
    assert torch.equal(first, second)
    for (c1, m1), (c2, m2) in zip(plain, moved, strict=True):
        assert torch.equal(c1.grad, c2.grad)
        assert torch.equal(m1.grad, m2.grad)
        assert (m1.grad[..., :7] == 0).all()
        assert (m1.grad[..., 8:] != 0).any()


def test_a_batch_without_a_known_pixel_teaches_nothing():
    made, net, _ = built()
    pixels, target = batch()
    empty = Batch(pixels, torch.full_like(target, 255), ["a", "b"], 0)
    loss = sum(made.loss(net.train(), empty).values())
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in net.parameters())


def test_training_under_bfloat16_is_finite():
    for variant in MINIS:
        made, net, _ = built(**{"model.variant": variant})
        pixels, target = batch()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = sum(made.loss(net.train(), Batch(pixels, target, ["a", "b"], 60, 0.4)).values())
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters()), variant


# -- weights ----------------------------------------------------------------------------------


def dinov2(folder, side=5):
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        patch_size=14,
        image_size=14 * side,
        layerscale_value=0.7,
    )
    torch.manual_seed(2)
    made = Dinov2WithRegistersModel(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    made.save_pretrained(folder)
    return made


def dinov3(folder):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_register_tokens=4,
        patch_size=16,
        rope_theta=50.0,
    )
    torch.manual_seed(2)
    made = DINOv3ViTModel(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize("kind", [dinov2, dinov3])
def test_a_backbones_tokens_are_its_own(kind, tmp_path):
    """What enters the first block with queries equals the backbone's hidden state, on images that
    need no resampling of positions; DINOv2's patches of 14 px are embedded as those resized."""
    theirs = kind(tmp_path)
    _, net, said = built(tmp_path)
    assert 0 < said.share < 1
    assert said.source.startswith("file: ")
    assert not any(name.startswith(stored.BACKBONE) for name in said.missing)
    net.eval()
    side = 5
    size = theirs.config.patch_size
    small = net.normalised(image(side * size, side * size))
    if size == 14:  # each patch by itself, as FlexiViT resizes it
        patches = small.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5)
        resized = torch.nn.functional.interpolate(
            patches.reshape(-1, 3, 14, 14), (16, 16), mode="bilinear", align_corners=False
        )
        grid = resized.reshape(2, side, side, 3, 16, 16).permute(0, 3, 1, 4, 2, 5)
        large = grid.reshape(2, 3, 16 * side, 16 * side)
    else:
        large = small
    seen = []
    net.net.layers[0].register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        net.queries(large * net.std + net.mean)
        expected = theirs(pixel_values=small, output_hidden_states=True).hidden_states[1]
    # `mini` has two blocks with queries, of three
    found = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_backbone_is_never_scored(tmp_path):
    dinov2(tmp_path)
    with pytest.raises(WeightsError, match="are of a backbone alone"):
        built(tmp_path, evaluating=True)


@pytest.mark.parametrize("variant", MINIS)
def test_an_eomt_folder_is_scored_by_its_own_classes_and_trained_with_new_ones(variant, tmp_path):
    made, net, _ = built(**{"model.variant": variant})
    order = [5, 3, 1, 0, 4, 2]
    net.net.config.id2label = {i: NAMES[label].title() for i, label in enumerate(order)}
    with torch.no_grad():
        expected = made.predict(net.eval(), image())
        for tensor in (net.net.class_predictor.weight, net.net.class_predictor.bias):
            tensor[:6] = tensor[order].clone()
    net.net.save_pretrained(tmp_path)
    again, scored, said = built(tmp_path, evaluating=True, **{"model.variant": variant})
    assert said.share == 1
    with torch.no_grad():
        assert torch.allclose(again.predict(scored.eval(), image()), expected, atol=1e-5)
    net.net.config.id2label = dict(enumerate(["wall", "sky", "road"]))
    net.net.class_predictor = torch.nn.Linear(96, 4)
    net.net.save_pretrained(tmp_path)
    _, trained, said = built(tmp_path, **{"model.variant": variant})
    assert set(said.missing) == {"net.class_predictor.weight", "net.class_predictor.bias"}
    assert trained.net.class_predictor.out_features == 7
    with pytest.raises(WeightsError, match="0 wall, 1 sky, 2 road"):
        built(tmp_path, evaluating=True, **{"model.variant": variant})


def test_other_weights_and_mistakes_are_named(tmp_path):
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=32)
    ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="are of a vit; EoMT takes its own"):
        built(tmp_path)
    with pytest.raises(RecipeError, match="no 'huge'. Known: dinov2_small"):
        built(**{"model.variant": "huge"})
    with pytest.raises(RecipeError, match="does not make an EoMT"):
        built(**{"model.variants.mini.config.num_attention_heads": 5})
    strict = backend("auto", "full")
    strict.context.strict_weights = True
    assert strict.context.weights == Weights.parse("auto")
    with pytest.raises(
        WeightsError, match="facebook/dinov2-with-registers-large are not available"
    ):
        strict.build()


def test_every_variant_has_the_size_of_its_backbone():
    """Millions of parameters of the ViT, as the models' cards say: DINOv2 22, 86, 304; DINOv3 21,
    86, 300; counted without allocating them."""
    published = {
        "dinov2_small": 22,
        "dinov2_base": 86,
        "dinov2_large": 304,
        "dinov3_small": 21,
        "dinov3_base": 86,
        "dinov3_large": 300,
    }
    for variant, millions in published.items():
        made = backend(preset="full", **{"model.variant": variant})
        with torch.device("meta"):
            net = made._random()
        backbone = made.parameter_groups(net)["backbone"]
        count = sum(p.numel() for p in backbone) / 1e6
        assert count == pytest.approx(millions, rel=0.03), variant


def test_positions_are_resampled_and_kept_where_the_grid_is_theirs():
    embeddings = torch.randn(25, 4, generator=torch.Generator().manual_seed(0))
    assert resampled_positions(embeddings, 5, 5) is embeddings
    ramp = torch.arange(16.0).reshape(4, 4).flatten()[:, None]
    wide = resampled_positions(ramp, 4, 8).reshape(4, 8)
    assert (wide.diff(dim=1) > 0).all()
    assert torch.allclose(wide.mean(1), ramp.reshape(4, 4).mean(1), atol=0.2)


def test_patches_are_resampled_exactly_when_they_grow():
    g = torch.Generator().manual_seed(0)
    weight, patch = torch.randn(5, 3, 14, 14, generator=g), torch.rand(1, 3, 14, 14, generator=g)
    grown = torch.nn.functional.interpolate(patch, (16, 16), mode="bilinear", align_corners=False)
    ours = (stored.resampled_patches(weight, 16) * grown).sum((1, 2, 3))
    assert torch.allclose(ours, (weight * patch).sum((1, 2, 3)), atol=1e-3)
    assert stored.resampled_patches(weight, 14) is weight


def test_auto_leads_to_the_variants_weights():
    from benchbcss_mask2former.weights import pretrained

    made = backend(**{"model.variant": "dinov3_base"})
    assert pretrained(made.recipe["model"]) == Hub(id="facebook/dinov3-vitb16-pretrain-lvd1689m")
