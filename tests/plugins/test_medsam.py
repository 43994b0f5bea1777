"""SAM and what was fine-tuned from it, by a file in Meta's layout; MedSAM's own conventions."""

import re

import numpy as np
import pytest
import torch

from benchbcss.contract import Context, Prompt, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Weights, hub
from benchbcss.weights.loading import settle

pytest.importorskip("transformers")
pytest.importorskip("sam2")

from benchbcss_sam2.backend import MedSam, ZeroShot
from benchbcss_sam2.sam1 import from_meta

TASK = Task(("a", "b", "other"), (0, 1), 0.3, 64)
BOX = [Prompt(0, (8.0, 8.0, 60.0, 70.0))]


def made(weights="none", kind=MedSam, recipe="medsam", evaluating=False, **overrides):
    sets = tuple(f"{k}={v}" for k, v in {"view.size": 128, **overrides}.items())
    settings = resolve(f"benchbcss_sam2:{recipe}.yaml", "smoke", sets)
    context = Context(0, torch.device("cpu"), Weights.parse(str(weights)), evaluating, [1] * 3)
    context.evaluating = evaluating
    torch.manual_seed(len(str(weights)))  # another random start than the file's
    return kind(TASK, settings.model_dump(), context)


def meta_names(state):
    """transformers' names as segment_anything's modules call theirs, written out independently of
    the plugin: by what each module is in build_sam.py, mask_decoder.py and prompt_encoder.py."""
    mlp = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}
    plain = {
        "vision_encoder": "image_encoder",
        "neck.conv1": "neck.0",
        "neck.layer_norm1": "neck.1",
        "neck.conv2": "neck.2",
        "neck.layer_norm2": "neck.3",
        "patch_embed.projection": "patch_embed.proj",
        "mask_embed.conv1": "mask_downscaling.0",
        "mask_embed.layer_norm1": "mask_downscaling.1",
        "mask_embed.conv2": "mask_downscaling.3",
        "mask_embed.layer_norm2": "mask_downscaling.4",
        "mask_embed.conv3": "mask_downscaling.6",
        ".point_embed.": ".point_embeddings.",
        "upscale_conv1": "output_upscaling.0",
        "upscale_layer_norm": "output_upscaling.1",
        "upscale_conv2": "output_upscaling.3",
        "layer_norm": "norm",
    }
    names = {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    for name, tensor in state.items():
        if name == "shared_image_embedding.positional_embedding":
            continue  # one tensor of two names there, of one here
        if name == "prompt_encoder.shared_embedding.positional_embedding":
            names["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = tensor
            continue
        head = re.match(r"(.*(?:hypernetworks_mlps\.\d|iou_prediction_head))\.(.*)\.(\w+)$", name)
        if head:
            names[f"{head[1]}.{mlp[head[2]]}.{head[3]}"] = tensor
            continue
        new = name
        if name.startswith("vision_encoder.layers"):
            new = new.replace("vision_encoder.layers", "vision_encoder.blocks")
        for ours, theirs in plain.items():
            new = new.replace(ours, theirs)
        names[new] = tensor
    return names


@pytest.fixture(scope="module")
def original():
    """A network of random weights, its tensors in Meta's layout, and what it makes of a box."""
    backend = made()
    net = backend.build().eval()
    for parameter in net.sam.parameters():  # as they start, many are 0 or 1
        torch.nn.init.normal_(parameter, std=0.2)
    return backend, net, meta_names(net.sam.state_dict()), answer(backend, net)


def answer(backend, net):
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return backend.predict_prompted(net, backend.encode(net, image), BOX)


@pytest.mark.parametrize(
    "pack",
    [
        lambda state: state,
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": state, "epoch": 3, "optimizer": {"state": {}}},
        lambda state: {"model": {f"module.{name}": t for name, t in state.items()}},
        lambda state: from_meta(state),
    ],
    ids=["as Meta's", "DataParallel", "MedSAM's training", "both", "as transformers'"],
)
def test_a_file_gives_the_network_that_wrote_it(original, tmp_path, pack):
    _, _, state, expected = original
    torch.save(pack(state), tmp_path / "medsam_vit_b.pth")
    backend = made(tmp_path / "medsam_vit_b.pth", evaluating=True)
    net = backend.build().eval()
    settled = settle(net, backend.context, "medsam", made_here=backend.made_here, trains=False)
    assert settled.share == 1
    assert torch.equal(answer(backend, net), expected)


def test_sam_takes_such_a_file_too(original, tmp_path):
    torch.save(original[2], tmp_path / "tuned.pth")
    overrides = {"model.family": "sam", "model.variant": "mini"}
    backend = made(tmp_path / "tuned.pth", ZeroShot, "sam_zeroshot", True, **overrides)
    net = backend.build().eval()
    for name, tensor in original[1].sam.state_dict().items():
        assert torch.equal(net.sam.state_dict()[name], tensor)
    assert not torch.equal(answer(backend, net), original[3]), "SAM scales images otherwise"


def test_segment_anything_itself_makes_the_same_of_them(original):
    """Meta's own code as the oracle, where it is installed (segment-anything on PyPI)."""
    sa = pytest.importorskip("segment_anything.modeling")
    _, _, state, expected = original
    encoder = sa.ImageEncoderViT(
        img_size=128, embed_dim=64, depth=2, num_heads=2, out_chans=256, patch_size=16, mlp_ratio=4,
        use_rel_pos=True, global_attn_indexes=[1], window_size=14,
        norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    )  # fmt: skip
    prompts = sa.PromptEncoder(256, (8, 8), (128, 128), 16)
    decoder = sa.MaskDecoder(
        num_multimask_outputs=3,
        transformer=sa.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        transformer_dim=256,
    )
    theirs = sa.Sam(encoder, prompts, decoder, [0.0] * 3, [1.0] * 3).eval()
    theirs.load_state_dict({name: t for name, t in state.items() if "pixel_" not in name})
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    scaled = (image - image.min()) / (image.max() - image.min())  # as MedSAM_Inference.py
    with torch.no_grad():
        sparse, dense = theirs.prompt_encoder(None, torch.tensor([[BOX[0].box]]), None)
        masks, _ = theirs.mask_decoder(
            image_embeddings=theirs.image_encoder(scaled),
            image_pe=theirs.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
    assert torch.allclose(masks[0], expected, atol=1e-5)


def test_another_file_is_refused_in_a_sentence(original, tmp_path):
    state = original[2]
    torch.save({k: v for k, v in state.items() if "neck" not in k}, tmp_path / "torn.pth")
    with pytest.raises(WeightsError, match=r"are not of SAM variant 'mini'.*: it lacks vision_enc"):
        made(tmp_path / "torn.pth").build()
    torch.save({**state, "image_encoder.pos_embed": torch.zeros(1, 64, 64, 64)}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="pos_embed is .1, 64, 64, 64. and not .1, 8, 8, 64."):
        made(tmp_path / "b.pth").build()
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="none of its 1 tensors has a known name"):
        made(tmp_path / "other.pth").build()
    torch.save({**state, "adapter.down": torch.zeros(3)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match="adapter.down is unknown"):
        made(tmp_path / "more.pth").build()


def test_of_a_hubs_revision_the_file_that_is_there_is_taken(original, tmp_path, monkeypatch):
    """Older repositories hold a pytorch_model.bin alone; the default revision may be another."""
    torch.save(original[2], tmp_path / "pytorch_model.bin")
    there = {("pytorch_model.bin", "v1"): tmp_path / "pytorch_model.bin"}

    def fetched(repository, name, revision):
        return there.get((name, revision), f"{name} is not in {revision}")

    monkeypatch.setattr(hub, "_fetched", fetched)
    backend = made("owner/name@v1", evaluating=True)
    backend.build()
    assert backend.context.provenance.source == "pretrained: owner/name@v1"
    with pytest.raises(WeightsError, match="hf download owner/name --local-dir DIR"):
        made("owner/name", evaluating=True).build()
    with pytest.raises(WeightsError, match="hf download owner/name --revision v2 --local-dir DIR"):
        made("owner/name@v2", evaluating=True).build()


def test_medsam_sees_each_image_from_its_least_to_its_greatest_value(original):
    _, net, _, _ = original
    image = torch.rand(2, 3, 32, 32) * 0.3 + 0.2
    scaled = net.scaled(image)
    assert np.allclose(scaled.amin((1, 2, 3)), 0)
    assert np.allclose(scaled.amax((1, 2, 3)), 1)
    assert torch.allclose(net.scaled(image * 0.5), scaled, atol=1e-6), "brightness does not matter"
    assert torch.isfinite(net.scaled(torch.ones(1, 3, 8, 8))).all(), "of one colour"


def test_medsam_is_prompted_with_boxes_alone():
    assert MedSam.strategies == ("box",)
    assert MedSam.automatic_weights(resolve("benchbcss_sam2:medsam.yaml", "full").model_dump()).id
    assert MedSam.automatic_weights(made().recipe) is None, "there are no weights of smoke's size"


def test_scalings_that_there_are_not():
    with pytest.raises(RecipeError, match="no 'zscore'. Known: imagenet, minmax"):
        made(**{"model.normalisation": "zscore"}).build()
    with pytest.raises(RecipeError, match="SAM2 knows imagenet alone"):
        made("none", ZeroShot, "sam_zeroshot", **{"model.normalisation": "minmax"}).build()
