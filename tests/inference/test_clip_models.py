"""Short names of models that name regions, and CLIP as transformers has it."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbcss.errors import UnknownNameError, WeightsError
from benchbcss.inference import clip_models
from benchbcss.inference.clip import Source
from benchbcss.runs.planning import clip_spec
from benchbcss.suites import Clip


def test_short_names_stand_for_models():
    for name, entry in clip_models.known().items():
        assert entry["source"]
        if name != "conch":
            assert clip_spec(Clip(model=name)).model == entry["model"]
    assert clip_models.resolve("ViT-B-32") == "ViT-B-32"


def test_one_that_cannot_be_run_is_refused_with_what_to_do():
    with pytest.raises(
        WeightsError, match="conch: CONCH's .* own package alone .*huggingface.co/MahmoodLab/CONCH"
    ):
        clip_spec(Clip(model="conch"))


def test_a_misspelt_name_is_answered_with_its_near_miss():
    pytest.importorskip("open_clip")
    with pytest.raises(UnknownNameError, match="Did you mean 'quiltnet'"):
        clip_spec(Clip(model="quitnet"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP of transformers of 16 dimensions with random weights, and its own tokenizer."""
    transformers = pytest.importorskip("transformers")
    place = tmp_path_factory.mktemp("clip")
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{x}</w>" for x in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = transformers.CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": len(tokens),
            "max_position_embeddings": 16,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}).save_pretrained(place)
    return place


def test_a_clip_of_transformers_gives_its_own_logits(folder):
    import transformers

    spec = clip_spec(Clip(model=f"hf:{folder}"))
    clip = Source(spec, torch.device("cpu")).load()
    assert clip.provenance.startswith("file: ")
    assert clip.size == 32
    crops = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in (0, 1)]
    ours = clip.logits(crops, [["vein"], ["cancer cells"]])
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    words = tokenizer(["vein", "cancer cells"], padding=True, return_tensors="pt")
    pixels = (torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255 - clip.mean) / clip.std
    with torch.inference_mode():
        theirs = model(pixel_values=pixels, **words).logits_per_image
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_clip_of_transformers_is_never_partly_random(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "half")
    state = load_file(folder / "model.safetensors")
    kept = {name: t for name, t in state.items() if not name.startswith("text_model.")}
    save_file(kept, tmp_path / "half" / "model.safetensors", metadata={"format": "pt"})
    problem = Source(clip_spec(Clip(model=f"hf:{tmp_path}/half")), torch.device("cpu")).problem()
    assert "they lack text_model." in problem


def test_what_is_not_there_is_said(tmp_path):
    for model, said in (
        (f"hf:{tmp_path}/none", "none"),
        ("hf:owner/name", "owner/name"),
    ):
        problem = Source(clip_spec(Clip(model=model)), torch.device("cpu")).problem()
        assert problem is not None
        assert said in problem
