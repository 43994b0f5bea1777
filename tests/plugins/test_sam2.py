import sys
import types

import numpy as np
import pytest
import torch
from tests_support import tiny_clip
from waits_support import Waits

from benchbcss.contract import Batch, Context, Prompt, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.inference.clip import Source
from benchbcss.inference.labellers import ClipNames
from benchbcss.recipes import resolve
from benchbcss.runs.planning import clip_spec
from benchbcss.suites import Clip
from benchbcss.weights import Weights

pytest.importorskip("sam2")
from benchbcss_sam2 import prompting
from benchbcss_sam2.backend import Sam2, ZeroShot
from benchbcss_sam2.labelling import EmbeddingNames, ProbeData
from benchbcss_sam2.losses import class_weights, object_losses
from benchbcss_sam2.network import FEATURES
from benchbcss_sam2.semantic import Shares, paint

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 128)
SETTINGS = {
    "mask": 5.0,
    "dice": 2.0,
    "iou": 1.0,
    "object": 1.0,
    "focal_alpha": 0.25,
    "focal_gamma": 2.0,
}


def backend(size=128, weights="none", **overrides):
    sets = [f"view.size={size}", *(f"{k}={v}" for k, v in overrides.items())]
    recipe = resolve("benchbcss_sam2:sam2_v3.yaml", "smoke", tuple(sets))
    context = Context(
        0, torch.device("cpu"), Weights.parse(weights), False, [100, 90, 30, 30, 5, 40]
    )
    torch.manual_seed(0)
    return Sam2(TASK, recipe.model_dump(), context)


@pytest.fixture(scope="module")
def built():
    made = backend()
    return made, made.build()


def blobs(size=128):
    """Three square objects of three classes on 'other', and a band that is ignored."""
    target = torch.full((1, size, size), 5)
    target[:, 10:50, 10:60], target[:, 70:110, 20:50], target[:, 60:100, 70:120] = 0, 1, 4
    target[:, :, :6] = 255
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 0.1
    for label, channel in ((0, 0), (1, 1), (4, 2)):
        image[:, channel] += 0.8 * (target == label)
    return image, target


def objects(masks=3, count=4, size=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {
        "masks": torch.randn(count, masks, size, size, generator=g),
        "iou": torch.rand(count, masks, generator=g),
        "presence": torch.randn(count, 1, generator=g),
        "target": torch.rand(count, size, size, generator=g) < 0.3,
        "known": torch.ones(count, size, size, dtype=torch.bool),
        "weights": torch.ones(count),
    }


def upstream():
    """SAM2's own losses; its training package needs modules that are not installed."""
    for name in ("training.trainer", "training.utils", "training.utils.distributed"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["training.trainer"].CORE_LOSS_KEY = "core_loss"
    sys.modules["training.utils.distributed"].get_world_size = lambda: 1
    sys.modules["training.utils.distributed"].is_dist_avail_and_initialized = lambda: False
    return pytest.importorskip("training.loss_fns")


@pytest.mark.parametrize("masks", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_losses_equal_upstreams(masks, seed):
    case = objects(masks, seed=seed)
    case["target"][2] = False  # an object that is not there
    oracle = upstream().MultiStepMultiMasksAndIous(
        {"loss_mask": 5, "loss_dice": 2, "loss_iou": 1, "loss_class": 1},
        supervise_all_iou=True,
        iou_use_l1_loss=True,
        pred_obj_scores=True,
    )
    outputs = {
        "multistep_pred_multimasks_high_res": [case["masks"]],
        "multistep_pred_ious": [case["iou"]],
        "multistep_object_score_logits": [case["presence"]],
    }
    expected = oracle([outputs], case["target"][None])
    ours = object_losses(**case, settings=SETTINGS)
    assert ours["mask"] == pytest.approx(5 * float(expected["loss_mask"]), abs=1e-6)
    assert ours["dice"] == pytest.approx(2 * float(expected["loss_dice"]), abs=1e-6)
    assert ours["iou"] == pytest.approx(float(expected["loss_iou"]), abs=1e-6)
    assert ours["object"] == pytest.approx(float(expected["loss_class"]), abs=1e-6)
    assert sum(ours.values()) == pytest.approx(float(expected["core_loss"]), abs=1e-5)


def test_losses_do_not_see_ignored_pixels():
    case = objects()
    case["known"][:, :8] = False

    def run(noise):
        masks = (case["masks"] + noise * ~case["known"][:, None]).requires_grad_()
        target = case["target"] ^ (bool(noise) & ~case["known"])
        terms = object_losses(**{**case, "masks": masks, "target": target}, settings=SETTINGS)
        total = sum(terms.values())
        total.backward()
        return total.detach(), masks.grad

    first, second = run(0.0), run(5.0)
    assert torch.allclose(first[0], second[0])
    assert torch.allclose(first[1], second[1])


def test_mask_terms_are_weighted_by_class():
    case = objects(count=1)
    plain = object_losses(**case, settings=SETTINGS)
    heavy = object_losses(**{**case, "weights": torch.tensor([15.9])}, settings=SETTINGS)
    assert float(heavy["mask"] / plain["mask"]) == pytest.approx(15.9)
    assert float(heavy["dice"] / plain["dice"]) == pytest.approx(15.9)
    assert heavy["iou"] == plain["iou"]
    assert heavy["object"] == plain["object"]


def test_class_weights_as_given_and_from_masks():
    given = resolve("benchbcss_sam2:sam2_v3.yaml", "full").loss["class_weights"]
    assert class_weights(given, NAMES, [1] * 6).tolist() == pytest.approx(
        [1.0, 1.2, 3.9, 3.5, 15.9, 1.0]
    )
    automatic = class_weights("auto", NAMES, [1000, 800, 250, 500, 10, 0])
    assert automatic.tolist() == pytest.approx([1, 1.25, 4, 2, 20, 1])
    assert class_weights("auto", NAMES, [0, 800, 200, 500, 10, 0]).tolist() == [
        1,
        1,
        4,
        pytest.approx(1.6),
        20,
        1,
    ]
    assert class_weights(None, NAMES, [1] * 6).tolist() == [1] * 6


def test_groups_are_disjoint_and_leave_out_video_memory(built):
    made, net = built
    groups = made.parameter_groups(net)
    assert sorted(groups) == ["decoder", "encoder_neck", "encoder_stages12", "encoder_stages34"]
    ids = [id(p) for group in groups.values() for p in group]
    assert len(ids) == len(set(ids))
    rest = [n for n, p in net.named_parameters() if id(p) not in set(ids)]
    assert rest
    assert not [n for n in rest if "image_encoder" in n or "sam_mask" in n or "sam_prompt" in n]
    assert not any(dict(net.named_parameters())[n].requires_grad for n in rest)


@pytest.mark.parametrize("size", [64, 128, 224])
def test_any_size_that_the_encoder_takes(size):
    made = backend(size)
    net = made.build().eval()
    with torch.no_grad():
        encoded = made.encode(net, torch.rand(1, 3, size, size))
        prompts = [
            Prompt(0, box=(4.0, 4.0, 40.0, 50.0)),
            Prompt(1, points=((9.0, 9.0),), point_labels=(1,)),
        ]
        logits = made.predict_prompted(net, encoded, prompts)
    assert encoded.embedding.shape == (1, 256, size // 16, size // 16)
    assert logits.shape == (2, size // 4, size // 4)


def test_the_encoder_equals_upstreams_at_1024():
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    made = backend(1024)
    net = made.build().eval()
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    predictor = SAM2ImagePredictor(net.sam)
    predictor.set_image(image)
    with torch.no_grad():
        encoded = net.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    assert torch.allclose(encoded.embedding, predictor._features["image_embed"], atol=1e-4)
    box = np.array([100.0, 200.0, 700.0, 800.0])
    _, _, low = predictor.predict(box=box, multimask_output=False)
    with torch.no_grad():
        ours = made.predict_prompted(net, encoded, [Prompt(0, box=tuple(box.tolist()))])
    assert np.abs(ours[0].numpy().clip(-32, 32) - low[0]).max() < 1e-3  # the predictor clamps


def test_a_frozen_encoder_keeps_no_graph(built):
    made, net = built
    groups = made.parameter_groups(net)
    encoder = [p for name in groups if name != "decoder" for p in groups[name]]
    for parameter in encoder:
        parameter.requires_grad_(False)
    image, target = blobs()
    sum(made.loss(net, Batch(image, target, ["a"], 0)).values()).backward()
    assert all(p.grad is None for p in encoder)
    assert any(p.grad is not None for p in groups["decoder"])
    for parameter in encoder:
        parameter.requires_grad_(True)


def test_three_objects_of_one_image_can_be_learnt():
    made = backend(**{"loss.prompts.box": 1.0, "loss.focal_alpha": 0.25})
    net = made.build()
    image, target = blobs()
    net.requires_grad_(False)
    decoder = made.parameter_groups(net)["decoder"]
    for parameter in decoder:
        parameter.requires_grad_(True)
    from benchbcss.contract import BOX_CLASS
    from benchbcss.inference.prompts import make_prompts
    from benchbcss.inference.views import enlarge

    def dice():
        net.eval()
        with torch.no_grad():
            labels = target[0].byte().numpy()
            prompts = make_prompts(labels, TASK.mean_classes, 128, BOX_CLASS)
            logits = enlarge(made.predict_prompted(net, net.encode(image), prompts), (128, 128))
        net.train()
        values = {}
        for prompt, logit in zip(prompts, logits, strict=True):
            truth, mask = target[0] == prompt.class_index, (logit > 0) & (target[0] != 255)
            overlap = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
            values[NAMES[prompt.class_index]] = float(overlap)
        assert len(values) == 3
        return values

    assert min(dice().values()) < 0.5
    optimizer = torch.optim.AdamW(decoder, lr=1e-3)
    for step in range(150):
        torch.manual_seed(step)
        optimizer.zero_grad()
        sum(made.loss(net, Batch(image, target, ["a"], step)).values()).backward()
        torch.nn.utils.clip_grad_norm_(decoder, 1.0)
        optimizer.step()
        if step % 15 == 14 and min(dice().values()) > 0.9:
            return
    pytest.fail(f"150 steps reach {dice()} only")


def test_training_prompts_lie_where_they_should():
    _, target = blobs()
    index, label = prompting.draw_objects(target, TASK.mean_classes, 3)
    assert sorted(label.tolist()) == [0, 1, 4]
    masks, known = target[index] == label[:, None, None], target[index] != 255
    points, kinds = prompting.boxes(masks)
    order = label.tolist().index(0)
    assert points[order].flatten().tolist() == [10, 10, 60, 50]
    assert kinds[order].tolist() == [2, 3]
    settings = {"box": 0.0, "positives": 3, "negatives": 3, "jitter": 0.1, "jitter_px": 20}
    for seed in range(10):
        torch.manual_seed(seed)
        points, kinds = prompting.draw_prompts(masks, known, settings)
        for mask, valid, xy, kind in zip(masks, known, points.long(), kinds, strict=True):
            assert mask[xy[kind == 1, 1], xy[kind == 1, 0]].all()
            outside = xy[kind == 0]
            assert not mask[outside[:, 1], outside[:, 0]].any()
            assert valid[outside[:, 1], outside[:, 0]].all()


def _places(mask, count, label):
    """Random pixels of a mask [H, W], by looking at it."""
    places = mask.flatten().nonzero()[:, 0]
    if not len(places):
        return torch.zeros(count, 2), torch.full((count,), -1)
    flat = places[torch.randint(len(places), (count,))]
    width = mask.shape[-1]
    return torch.stack([flat % width, flat // width], 1).float(), torch.full((count,), label)


def test_training_prompts_are_those_of_a_look_at_every_mask():
    generator = torch.Generator().manual_seed(0)
    settings = {"box": 0.0, "positives": 3, "negatives": 2}
    for seed in range(40):
        size = torch.randint(3, 40, (2,), generator=generator).tolist()
        target = torch.randint(0, 5, (3, *size), generator=generator)
        target[0, : seed % 3] = 255
        if seed % 4 == 0:  # nothing outside the one object
            target[1] = seed % 5
        torch.manual_seed(seed)
        index, label = prompting.draw_objects(target, TASK.mean_classes, 3)
        masks, known = target[index] == label[:, None, None], target[index] != 255
        points, kinds = prompting.draw_prompts(masks, known, settings)
        torch.manual_seed(seed)
        pairs = []
        for image, one in enumerate(target):
            present = [c for c in TASK.mean_classes if (one == c).any()]
            chosen = torch.randperm(len(present))[:3].tolist()
            pairs += [(image, present[place]) for place in chosen]
        assert list(zip(index.tolist(), label.tolist(), strict=True)) == pairs
        torch.rand(())
        numbers = 1 + int(torch.randint(3, ())), int(torch.randint(3, ()))
        for row, (mask, valid) in enumerate(zip(masks, known, strict=True)):
            sides = [_places(mask, numbers[0], 1), _places(valid & ~mask, numbers[1], 0)]
            assert torch.equal(points[row], torch.cat([xy for xy, _ in sides]))
            assert torch.equal(kinds[row], torch.cat([kind for _, kind in sides]))
        corners = prompting.boxes(masks)[0]
        for mask, box in zip(masks, corners, strict=True):
            rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
            tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert box.flatten().tolist() == [float(side) for side in tight]


def test_drawing_prompts_waits_for_the_device_a_few_times_only():
    """Whatever the number of images and objects: on a GPU each look costs a wait."""
    generator = torch.Generator().manual_seed(0)
    for box in (0.0, 1.0):
        settings = {"box": box, "positives": 3, "negatives": 2, "jitter": 0.1, "jitter_px": 20}
        counts = []
        for images in (1, 8):
            target = torch.randint(0, 5, (images, 64, 64), generator=generator)
            with Waits() as waits:
                index, label = prompting.draw_objects(target, TASK.mean_classes, 3)
                masks = target[index] == label[:, None, None]
                prompting.draw_prompts(masks, target[index] != 255, settings)
            counts.append(len(waits.names))
        assert counts[0] == counts[1] <= 3  # the numbers that the recipe leaves open, on the CPU


def test_an_image_without_an_object_gives_zero():
    made = backend()
    net = made.build()
    target = torch.full((1, 128, 128), 255)
    terms = made.loss(net, Batch(torch.rand(1, 3, 128, 128), target, ["a"], 0))
    assert sum(terms.values()) == 0


def test_the_probe_names_regions_and_absent_classes_never(built):
    _, net = built
    data = ProbeData()
    generator = torch.Generator().manual_seed(0)
    target = np.zeros((128, 128), np.uint8)
    target[64:], target[:, 64:96] = 1, 4
    features = torch.randn(FEATURES, 8, 8, generator=generator) * 0.1
    for label in (0, 1, 4):
        features[label, torch.from_numpy(target[8::16, 8::16] == label)] += 3
    data.add_cells(features, target, 6)
    facts = data.fit(net.probe, 1000, 0)
    assert facts["training_accuracy"] > 0.95
    with torch.no_grad():
        found = net.probe(features.flatten(1).T).argmax(1).reshape(8, 8)
    assert (found.numpy() == target[8::16, 8::16]).mean() > 0.95
    assert set(found.unique().tolist()) <= {0, 1, 4}


def test_semantic_maps_leave_no_pixel_out_and_record_shares(built):
    made, net = built
    shares = Shares()
    with torch.no_grad():
        encoded = net.encode(torch.rand(1, 3, 128, 128))
        settings = {
            **made.recipe["predict"],
            "predicted_iou": -9.0,
            "stability": 0.0,
            "points_per_side": 4,
        }
        names = EmbeddingNames(net.probe, net.features(encoded)[0])
        labels = paint(net, encoded, names, 128, settings, shares)
    assert labels.shape == (128, 128)
    assert labels.max() < 6
    plain = shares.plain()
    total = plain["share_painted_by_proposals"] + plain["share_painted_by_fallback"]
    assert total == pytest.approx(1)
    assert plain["rois"] == 1


def test_proposals_above_half_of_the_roi_are_dropped(built, monkeypatch):
    made, net = built

    def decode(encoded, points, labels, multimask):
        logits = torch.full((len(points), 3, 32, 32), -9.0)
        logits[:, 0, :20] = 9.0  # 62 % of the image
        logits[:, 1, :8] = 9.0
        return logits, torch.ones(len(points), 3), torch.ones(len(points), 1)

    monkeypatch.setattr(net, "decode", decode)
    shares = Shares()
    with torch.no_grad():
        encoded = net.encode(torch.rand(1, 3, 128, 128))
        names = EmbeddingNames(net.probe, net.features(encoded)[0])
        paint(net, encoded, names, 128, made.recipe["predict"], shares)
    assert shares.dropped_large > 0
    assert shares.proposals == 1  # the small one, once after suppression
    assert shares.painted == pytest.approx(0.25)


def test_weights_from_a_file_and_their_mistakes(tmp_path):
    source = backend().build()
    torch.save({"model": source.sam.state_dict()}, tmp_path / "meta.pt")
    made = backend(weights=str(tmp_path / "meta.pt"))
    net = made.build()
    assert torch.equal(net.sam.no_mem_embed, source.sam.no_mem_embed)
    assert made.context.provenance.source.startswith("file: ")

    with pytest.raises(WeightsError, match="does not exist"):
        backend(weights=str(tmp_path / "none.pt")).build()
    data = (tmp_path / "meta.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="truncated"):
        backend(weights=str(tmp_path / "half.pt")).build()
    with pytest.raises(WeightsError, match=r"not of SAM2.1 variant 's'"):
        backend(weights=str(tmp_path / "meta.pt"), **{"model.variant": "s"}).build()


def test_mistakes_in_the_recipe():
    with pytest.raises(RecipeError, match="no 'xl'. Known: t, s"):
        backend(**{"model.variant": "xl"}).build()
    with pytest.raises(RecipeError, match="multiple of 32"):
        backend(100).build()
    with pytest.raises(RecipeError, match="no 'knn'. Known: clip, clip_probe, probe"):
        backend(**{"predict.labeller": "knn"}).build()


def test_missing_weights_are_an_error_in_earnest_and_a_note_in_smoke():
    made = backend(weights="auto")
    made.build()
    assert "were not available" in made.context.provenance.source
    strict = backend(weights="auto")
    strict.context.strict_weights = True
    with pytest.raises(WeightsError, match=r"facebook/sam2\.1-hiera-tiny are not available"):
        strict.build()


# -- multi-scale, CLIP labellers, zero-shot, evaluation ---------------------------------------


def test_other_sizes_than_the_nominal_one_see_the_same_prompt():
    """Multi-scale: at half the size, half the coordinates are the same place."""
    made = backend(256)
    net = made.build().eval()
    image = torch.rand(1, 3, 128, 128)
    points, kinds = torch.tensor([[[40.0, 80.0]]]), torch.tensor([[1]])
    seen = []
    encoder = net.sam.sam_prompt_encoder
    handle = encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["points"][0]), with_kwargs=True
    )
    with torch.no_grad():
        masks, _, _ = net.decode(net.encode(image), points, kinds, multimask=True)
    handle.remove()
    assert masks.shape[-2:] == (32, 32)
    assert seen[0].tolist() == [[[80.0, 160.0]]]  # of 256, which the prompt encoder knows
    with pytest.raises(RecipeError, match="multiples of 32 for SAM2, got 100"):
        backend(**{"train.scales": "[{epoch: 0, size: 100}]"}).build()


def test_prompts_are_decoded_alike_alone_and_together(built):
    """Prompts of different kinds in one call must not see each other's padding."""
    made, net = built
    net.eval()
    prompts = [
        Prompt(0, box=(4.0, 4.0, 40.0, 50.0)),
        Prompt(1, points=((9.0, 9.0),), point_labels=(1,)),
        Prompt(2, (20.0, 20.0, 90.0, 90.0), ((5.0, 5.0), (100.0, 9.0)), (0, 0)),
    ]
    with torch.no_grad():
        encoded = net.encode(torch.rand(1, 3, 128, 128))
        together = made.predict_prompted(net, encoded, prompts)
        alone = [made.predict_prompted(net, encoded, [prompt])[0] for prompt in prompts]
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("open_clip")
    model, weights = tiny_clip(tmp_path_factory.mktemp("clip"))
    return Source(clip_spec(Clip(model=str(model), weights=str(weights))), torch.device("cpu"))


class Rois:
    """Two training ROIs, as the harness hands them to ``after_training``."""

    def rois(self):
        for seed in range(2):
            image, target = blobs()
            pixels = (image[0].permute(1, 2, 0) * 255).byte().numpy()
            yield f"roi{seed}", np.roll(pixels, 8 * seed, 1), target[0].byte().numpy()


@pytest.mark.parametrize("labeller", ["clip", "clip_probe", "probe"])
def test_every_labeller_leaves_no_pixel_out(labeller, clip):
    made = backend(**{"predict.labeller": labeller, "predict.clip_cells": 4})
    made.context.clip = clip
    net = made.build().eval()
    assert made.unavailable("semantic") is None
    made.after_training(net, Rois())
    _, image, _ = next(iter(Rois().rois()))
    with torch.no_grad():
        labels = made.predict_roi(net, image)
    assert labels.shape == (128, 128)
    assert labels.max() < 6
    assert made.summary([made.context.remarks])["semantic"]["labeller"] == labeller
    assert bool(net.probe.weight.any()) == (labeller != "clip")
    if labeller == "clip_probe":
        assert net.probe.weight.shape == (6, 16)
        assert made.context.notes["probe"]["training_accuracy"] > 0.6
        assert set(np.unique(labels)) <= {0, 1, 4, 5}  # never a class without an example


def test_clip_names_a_region_by_the_nearest_text(clip):
    """A labeller whose texts are the images' own embeddings must be always right."""
    red = np.full((64, 64, 3), (220, 30, 30), np.uint8)
    blue = np.full((64, 64, 3), (20, 30, 230), np.uint8)
    image = np.concatenate([red, blue], 1)
    own = clip.load().images([red, blue])

    class Known:
        def logits(self, crops, prompts):
            return clip.load().images(crops) @ own.T

    names = ClipNames(Known(), [], image, clip.settings, 2)
    masks = torch.zeros(2, 64, 128, dtype=torch.bool)
    masks[0, :, :64], masks[1, :, 64:] = True, True
    assert names.regions(list(masks)) == [0, 1]
    assert names.regions([masks[1]]) == [1]


def test_without_clip_the_semantic_track_is_not_measured(clip):
    made = backend(**{"predict.labeller": "clip"})
    made.context.clip = Source(clip_spec(Clip()), torch.device("cpu"))
    made.build()
    assert made.unavailable("prompted") is None
    assert made.unavailable("semantic").startswith("the labeller 'clip' needs CLIP: Pretrained")
    lacking = clip.settings.model_copy(update={"prompts": {"tumor": ["a"]}})
    made.context.clip = Source(lacking, torch.device("cpu"))
    assert "has no prompt for stroma" in made.unavailable("semantic")


def test_an_evaluated_checkpoint_keeps_its_own_probe(tmp_path):
    source = backend()
    net = source.build()
    net.probe.bias.fill_(3.0)
    torch.save(net.state_dict(), tmp_path / "own.pt")
    made = backend(weights=str(tmp_path / "own.pt"))
    made.context.evaluating = True
    loaded = made.build()
    made.after_training(loaded, Rois())
    assert (loaded.probe.bias == 3).all()
    assert made.context.notes["probe"] == "as the checkpoint holds it"
    torch.save(net.sam.state_dict(), tmp_path / "meta.pt")  # Meta's has none: it is fitted
    made = backend(weights=str(tmp_path / "meta.pt"))
    made.context.evaluating = True
    loaded = made.build()
    made.after_training(loaded, Rois())
    assert not (loaded.probe.bias == 3).all()


def zeroshot(weights="none", **overrides):
    sets = tuple(f"{k}={v}" for k, v in {"view.size": 128, **overrides}.items())
    recipe = resolve("benchbcss_sam2:sam_zeroshot.yaml", "smoke", sets)
    context = Context(0, torch.device("cpu"), Weights.parse(weights), False, [1] * 6)
    torch.manual_seed(0)
    return ZeroShot(TASK, recipe.model_dump(), context)


@pytest.fixture
def small_sam(monkeypatch):
    """The original SAM with a narrow, shallow encoder."""
    sam1 = pytest.importorskip("benchbcss_sam2.sam1")
    monkeypatch.setitem(sam1.VARIANTS, "b", ("facebook/sam-vit-base", 48, 2, 4, (1,)))
    return {"model.family": "sam", "model.variant": "b"}


def test_the_original_sam_equals_transformers_own_forward(small_sam):
    made = zeroshot(**small_sam)
    net = made.build().eval()
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        encoded = made.encode(net, image)
        ours = made.predict_prompted(
            net,
            encoded,
            [
                Prompt(0, (8.0, 8.0, 60.0, 70.0), ((90.0, 90.0),), (0,)),
                Prompt(1, points=((30.0, 40.0), (50.0, 9.0)), point_labels=(1, 1)),
            ],
        )
        pixels = net.normalised(image)
        first = net.sam(
            pixel_values=pixels,
            input_points=torch.tensor([[[[90.0, 90.0]]]]),
            input_labels=torch.tensor([[[0]]]),
            input_boxes=torch.tensor([[[8.0, 8.0, 60.0, 70.0]]]),
            multimask_output=False,
        )
        second = net.sam(
            pixel_values=pixels,
            input_points=torch.tensor([[[[30.0, 40.0], [50.0, 9.0]]]]),
            input_labels=torch.tensor([[[1, 1]]]),
            multimask_output=False,
        )
    assert ours.shape == (2, 32, 32)
    assert torch.allclose(ours[0], first.pred_masks[0, 0, 0], atol=1e-5)
    assert torch.allclose(ours[1], second.pred_masks[0, 0, 0], atol=1e-5)


def test_the_original_sam_paints_maps_and_takes_its_weights_from_a_file(small_sam, clip, tmp_path):
    made = zeroshot(**small_sam)
    made.context.clip = clip
    net = made.build().eval()
    _, image, _ = next(iter(Rois().rois()))
    with torch.no_grad():
        assert made.predict_roi(net, image).shape == (128, 128)
    torch.save(net.sam.state_dict(), tmp_path / "sam.pt")
    again = zeroshot(str(tmp_path / "sam.pt"), **small_sam).build()
    for key, value in net.sam.state_dict().items():
        assert torch.equal(again.sam.state_dict()[key], value)
    with pytest.raises(WeightsError, match="are not of SAM2.1 variant 't'"):
        zeroshot(str(tmp_path / "sam.pt")).build()


def test_zero_shot_mistakes(small_sam):
    with pytest.raises(RecipeError, match="no 'sam3'. Known: sam2, sam"):
        zeroshot(**{"model.family": "sam3"}).build()
    with pytest.raises(RecipeError, match="ZeroShot has no 'probe'. Known: clip"):
        zeroshot(**{"predict.labeller": "probe"}).build()
    with pytest.raises(RecipeError, match="SAM has no 't'. Known: b, l, h"):
        zeroshot(**{**small_sam, "model.variant": "t"}).build()
    strict = zeroshot("auto", **small_sam)
    strict.context.strict_weights = True
    with pytest.raises(WeightsError, match="facebook/sam-vit-base are not available"):
        strict.build()
