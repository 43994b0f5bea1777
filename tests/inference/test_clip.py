import json

import numpy as np
import pytest
import torch
from tests_support import tiny_clip

from benchbcss.errors import InputError, WeightsError
from benchbcss.inference.clip import Source, crop
from benchbcss.inference.clip_prompts import read as read_prompts
from benchbcss.inference.precision import Precision
from benchbcss.runs.planning import clip_spec
from benchbcss.suites import Clip

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("open_clip")
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def spec(files, **over):
    model, weights = files
    return clip_spec(Clip(**{"model": str(model), "weights": str(weights), **over}))


@pytest.fixture(scope="module")
def source(files):
    return Source(spec(files), torch.device("cpu"))


def test_embeddings_are_normalised_and_averaged_per_class(source):
    clip = source.load()
    assert clip.dimension == 16
    assert clip.provenance.startswith("file: ")
    one, two, both = clip.texts([["a"], ["b"], ["a", "b"]])
    mean = torch.nn.functional.normalize(one + two, dim=0)
    assert torch.allclose(both, mean, atol=1e-6)
    assert torch.allclose(both.norm(), torch.tensor(1.0))


def test_embeddings_equal_open_clips_own_pipeline(source, files):
    import open_clip
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(
        "tiny-clip", pretrained=str(files[1]), weights_only=True
    )
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    with torch.no_grad():
        theirs = model.eval().encode_image(preprocess(Image.fromarray(image))[None])
    ours = source.load().images([image])
    assert torch.allclose(ours, torch.nn.functional.normalize(theirs, dim=-1), atol=1e-5)


def test_a_crop_is_the_bounding_box_with_white_outside(files):
    image = np.full((40, 60, 3), 7, np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    mask[10, 30] = False
    piece = crop(image, mask, spec(files))
    assert piece.shape == (10, 20, 3)
    assert (piece[0, 0] == 255).all()
    assert (piece[0, 1:] == 7).all()
    wide = crop(image, mask, spec(files, margin=0.5))
    assert wide.shape == (30, 40, 3)  # 10 px on each side, cut at the top edge's 0 and at 60
    assert (wide[:10] == 255).all()
    context = crop(image, mask, spec(files, margin=0.5, outside="context"))
    assert (context == 7).all()
    assert crop(image, np.zeros((40, 60), bool), spec(files)) is None


def test_crops_of_any_shape_are_padded_not_stretched(source):
    clip = source.load()
    tall = np.full((64, 8, 3), 90, np.uint8)
    square = np.full((64, 64, 3), 255, np.uint8)
    square[:, 28:36] = 90
    first, second = clip.images([tall, square])
    assert torch.allclose(first, second, atol=1e-6)


def test_it_runs_in_the_runs_precision_and_compares_in_float32(files):
    cpu = torch.device("cpu")
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(3)]
    answers = {}
    for name in ("fp32", "bf16"):
        clip = Source(spec(files), cpu, Precision.chosen(name, cpu).autocast).load()
        answers[name] = clip.logits(crops, [["a"], ["b"]])
        with Precision.chosen("bf16", cpu).autocast():  # as inside a backend's predict_roi
            assert clip.logits(crops, [["a"], ["b"]]).dtype == torch.float32
    assert answers["bf16"].dtype == torch.float32
    assert not torch.equal(answers["bf16"], answers["fp32"])
    assert torch.allclose(answers["bf16"], answers["fp32"], rtol=0.1, atol=0.5)


@pytest.mark.parametrize("name", ["plain", "descriptive", "several"])
def test_shipped_prompts_name_every_class(name):
    _, prompts = read_prompts(name)
    for each in (*NAMES, "other", "inflammatory", "not_tumor"):
        assert prompts[each]
        assert len(set(prompts[each])) == len(prompts[each])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "must map each class"),
        ("{}", "must map each class"),
        ('{"tumor": []}', "must map each class"),
        ('{"tumor": "cancer"}', "must map each class"),
    ],
)
def test_malformed_prompt_files(tmp_path, text, message):
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_prompts(str(path))


def test_own_prompts_and_what_they_lack(files, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"tumor": ["cancer"], "stroma": ["fibres"]}))
    made = Source(spec(files, prompts=str(path)), torch.device("cpu"))
    assert made.problem(("tumor", "stroma")) is None
    assert made.problem(NAMES) == (
        "the prompt file 'mine.json' has no prompt for lymphocyte, necrosis, blood_vessel"
    )
    with pytest.raises(WeightsError, match="There is no CLIP prompt file sevral"):
        read_prompts("sevral")


def test_weights_that_cannot_be_had_are_a_reason():
    made = Source(clip_spec(Clip()), torch.device("cpu"))
    assert "timm/vit_base_patch32_clip_224.openai are not available" in made.problem()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"model": "ViT-B-32", "weights": "opena"}, "neither a file nor a tag of ViT-B-32"),
        ({"model": "hf-hub:some/clip"}, "some/clip are not available"),
    ],
)
def test_mistakes_in_naming_a_model(files, over, message):
    made = Source(spec(files, **over), torch.device("cpu"))
    assert message in made.problem()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ViT-Z-99", "There is no open_clip model 'ViT-Z-99'"),
        ("none.json", "The CLIP model none.json does not exist"),
        ("local-dir:/none", "The CLIP model /none does not exist"),
    ],
)
def test_a_model_that_is_nowhere_is_refused_while_planning(files, model, message):
    with pytest.raises(InputError, match=message):
        spec(files, model=model)


def test_mistakes_in_weights_files(files, tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        spec(files, weights=str(tmp_path / "none.pt"))
    data = files[1].read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    made = Source(spec(files, weights=str(tmp_path / "half.pt")), torch.device("cpu"))
    assert "or are truncated" in made.problem()
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    made = Source(spec(files, weights=str(tmp_path / "other.pt")), torch.device("cpu"))
    assert "are not of the model" in made.problem()


def test_a_folder_whose_weights_open_clip_does_not_take_is_not_scored_at_random(files, tmp_path):
    """open_clip looks for some endings only; of others it warns, and begins at random."""
    config = {"model_cfg": json.loads(files[0].read_text()), "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    weights = tmp_path / "epoch_10.pt"
    weights.write_bytes(files[1].read_bytes())

    def problem():
        return Source(spec(files, model=f"local-dir:{tmp_path}"), torch.device("cpu")).problem()

    assert "could not be loaded" in problem()
    weights.rename(tmp_path / "epoch_10.pth")
    assert problem() is None
