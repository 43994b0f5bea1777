"""SAM3: phrases settle pixels by score and leave the rest unnamed; prompts as in transformers.

Networks are tiny and random; the published weights are gated and were not exercised.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runs_support import finished_run

from benchbcss import registry
from benchbcss.contract import IGNORE, Context, Prompt, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.inference.predictor import Predictor
from benchbcss.inference.views import to_float
from benchbcss.recipes import resolve
from benchbcss.results import store
from benchbcss.weights import Weights

pytest.importorskip("transformers")
pytest.importorskip("benchbcss_hf")
pytest.importorskip("open_clip")

import transformers
from benchbcss_hf import sam3 as plugin

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 56)
SIZE = 112


def backend(name, weights="none", *, strict=False, task=TASK, **overrides):
    sets = tuple(f"{key}={value}" for key, value in overrides.items())
    recipe = resolve(f"benchbcss_hf:{name}.yaml", "smoke", sets).model_dump()
    given = Weights.parse(str(weights))
    context = Context(0, torch.device("cpu"), given, strict, [9] * 6)
    torch.manual_seed(7)
    made = registry.load().backend(name).load()(task, recipe, context)
    return made, made.build().eval()


@pytest.fixture(scope="module")
def text():
    return backend("sam3_text")


@pytest.fixture(scope="module")
def prompted():
    return backend("sam3")


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


# -- phrases ----------------------------------------------------------------------------------


def output(scores, masks, presence=20.0):
    """What the network says of instances: scores as probabilities, masks bool [Q, h, w]."""
    logits = torch.logit(torch.tensor([scores], dtype=torch.float64)).float()
    pixels = torch.where(torch.tensor(np.array(masks))[None], 9.0, -9.0)
    return SimpleNamespace(
        pred_logits=logits, presence_logits=torch.tensor([[presence]]), pred_masks=pixels
    )


def half(side):
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = side == "left"
    mask[:, 4:] = side == "right"
    return mask


def test_a_pixel_takes_the_highest_instance_that_covers_it():
    whole = np.ones((8, 8), bool)
    made = plugin.instance_scores(
        output([0.9, 0.5, 0.2], [half("left"), whole, whole]), (8, 8), 0.3
    )
    assert torch.allclose(made[:, :4], torch.tensor(0.9))
    assert torch.allclose(made[:, 4:], torch.tensor(0.5))


def test_below_the_score_there_is_no_instance_and_absence_lowers_all():
    masks = [half("left"), half("right")]
    made = plugin.instance_scores(output([0.9, 0.2], masks), (8, 8), 0.3)
    assert (made[:, 4:] == 0).all()
    absent = plugin.instance_scores(output([0.9, 0.9], masks, presence=-20.0), (8, 8), 0.3)
    assert (absent == 0).all()


def test_instances_are_those_of_transformers(text):
    made, net = text
    with torch.inference_mode():
        pixels = net.normalised(to_float(picture())[None])
        ids, mask = made._tokens("tumor")
        out = net.net(pixel_values=pixels, input_ids=ids, attention_mask=mask)
    processor = transformers.Sam3ImageProcessor()
    least = float((out.pred_logits.sigmoid() * out.presence_logits.sigmoid()).median())
    (theirs,) = processor.post_process_instance_segmentation(out, least, 0.5, [(SIZE, SIZE)])
    expected = torch.zeros(SIZE, SIZE)
    for score, one in zip(theirs["scores"], theirs["masks"], strict=True):
        expected = torch.where(one > 0, expected.clamp(min=float(score)), expected)
    assert torch.allclose(plugin.instance_scores(out, (SIZE, SIZE), least), expected)
    assert len(theirs["scores"]) >= 5


def test_classes_compete_by_score_and_what_none_covers_is_no_class(text, monkeypatch):
    made, net = text
    answers = {
        "tumor": torch.zeros(SIZE, SIZE),
        "stroma": torch.zeros(SIZE, SIZE),
    }
    answers["tumor"][:60, :60] = 0.6
    answers["stroma"][30:90, :60] = 0.7
    asked = iter(
        [name for name, phrases in zip(NAMES, made._phrases.values(), strict=True) for _ in phrases]
    )
    nothing = torch.zeros(SIZE, SIZE)
    monkeypatch.setattr(plugin, "instance_scores", lambda *given: answers.get(next(asked), nothing))
    with torch.inference_mode():
        labels = made.predict_roi(net, picture())
    assert (labels[:30, :60] == 0).all()
    assert (labels[30:90, :60] == 1).all()
    assert (labels[:, 60:] == IGNORE).all()
    assert (labels[90:] == IGNORE).all()
    assert made.context.remarks["covered"] == pytest.approx(90 * 60 / SIZE**2)


def test_several_phrases_of_a_class_are_one_class(text):
    made, _ = text
    assert len(made._phrases[0]) > 1
    assert all(isinstance(phrase, str) for phrases in made._phrases.values() for phrase in phrases)


def test_phrases_are_words_up_to_their_end():
    made, _ = backend("sam3_text")
    ids, mask = made._tokens("blood vessel")
    assert ids.shape == mask.shape == (1, plugin.WORDS)
    assert mask.sum() == 4  # begin, two words, end
    assert ids[0, 3] == 49407
    long, mask = made._tokens("vessel " * 60)
    assert long.shape == (1, plugin.WORDS)
    assert mask.all()


def test_a_class_of_the_mean_needs_a_phrase():
    with pytest.raises(RecipeError, match="predict.phrases has none for the class 'necrosis'"):
        backend("sam3_text", **{"predict.phrases.necrosis": "[]"})
    with pytest.raises(RecipeError, match="has none for the class 'gland'"):
        backend("sam3_text", task=Task(("gland",), (0,), 0.3, 56))


def test_only_a_backend_that_says_so_may_leave_pixels_unnamed(text, monkeypatch):
    made, net = text
    monkeypatch.setattr(
        made, "predict_roi", lambda model, image: np.full((SIZE, SIZE), IGNORE, np.uint8)
    )
    given = (made, net, SIZE, 56, 8, SIZE, torch.device("cpu"))
    assert (Predictor(*given, abstains=True).semantic(picture()) == IGNORE).all()
    with pytest.raises(Exception, match="label 255"):
        Predictor(*given).semantic(picture())
    assert registry.load().backend("sam3_text").info.abstains
    assert not registry.load().backend("unetpp").info.abstains


def test_uncovered_pixels_count_as_missed(phantom, tmp_path):
    """With a score that no instance reaches, everything is missed, in the mean as well."""
    _, spec, run_dir = finished_run(
        phantom, tmp_path, "sam3_text", overrides=("predict.score=2.0",)
    )
    record = store.load(run_dir)
    assert record.notes["covered"] == 0
    headline = record.tracks["semantic"].headline
    assert headline.per_roi.mean == 0
    assert headline.pooled.mean == 0
    assert spec.abstains
    counts = np.array(record.tracks["semantic"].confusion.counts)
    assert counts[:, :6].sum() == 0


# -- prompts ----------------------------------------------------------------------------------


def test_points_and_boxes_are_asked_as_transformers_asks(prompted):
    made, net = prompted
    prompts = [
        Prompt(0, box=(10.0, 12.0, 60.0, 70.0)),
        Prompt(1, points=((30.0, 40.0),), point_labels=(1,)),
        Prompt(2, box=(5.0, 5.0, 50.0, 50.0), points=((90.0, 90.0),), point_labels=(0,)),
        Prompt(3, points=((80.0, 20.0),), point_labels=(1,)),
    ]
    with torch.inference_mode():
        image = to_float(picture())[None]
        logits = made.predict_prompted(net, made.encode(net, image), prompts)
        for index, prompt in enumerate(prompts):
            given = {}
            if prompt.points:
                given["input_points"] = torch.tensor([[prompt.points]])
                given["input_labels"] = torch.tensor([[prompt.point_labels]])
            if prompt.box:
                given["input_boxes"] = torch.tensor([[prompt.box]])
            single = prompt.box is None
            theirs = net.net(pixel_values=net.normalised(image), multimask_output=single, **given)
            best = theirs.pred_masks[0, 0, theirs.iou_scores[0, 0].argmax()]
            assert torch.allclose(logits[index], best, atol=1e-4)
    assert logits.shape == (4, 32, 32)


def test_gated_weights_say_where_to_ask():
    for name in ("sam3", "sam3_text"):
        with pytest.raises(WeightsError, match="ask for access at https://huggingface.co/facebook"):
            backend(name, "facebook/sam3", strict=True)


@pytest.mark.parametrize("name", ["sam3", "sam3_text"])
def test_a_folder_of_save_pretrained_is_loaded_whole(name, tmp_path):
    _, net = backend(name)
    with torch.no_grad():
        next(net.net.parameters()).add_(1)
    net.net.save_pretrained(tmp_path)
    made, again = backend(name, tmp_path)
    assert made.context.provenance.source.startswith("file: ")
    for key, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    with pytest.raises(RecipeError, match="view.size must be 112"):
        backend(name, tmp_path, **{"view.size": 224})
