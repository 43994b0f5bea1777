"""Which ``--set`` is for which backend, and that none of them does nothing."""

import pytest

from benchbcss import registry
from benchbcss.errors import RecipeError, UnknownNameError
from benchbcss.runs.settings import by_backend
from benchbcss.suites import load_suite

PLUGINS = registry.load()


def recipes(names, *texts, suite="bcss5", evaluating=False):
    infos = {name: PLUGINS.backend(name).info for name in names}
    definition, preset = load_suite(PLUGINS.suites.find(suite).load(), "smoke")
    return by_backend(
        texts, infos, definition, preset, evaluating=evaluating, classes=["tumor", "mucus"]
    )


def test_without_a_name_it_is_for_every_model_and_no_floor():
    made = recipes(["unetpp", "transunet", "floor_majority"], "train.lr=0.5")
    assert made["unetpp"].train.lr == made["transunet"].train.lr == 0.5
    assert made["floor_majority"].train is None


def test_with_a_name_it_is_for_that_one_and_comes_first():
    made = recipes(["unetpp", "transunet"], "unetpp:train.lr=0.5", "train.lr=0.1")
    assert (made["unetpp"].train.lr, made["transunet"].train.lr) == (0.5, 0.1)
    made = recipes(["unetpp", "sam_zeroshot"], "unetpp:model.encoder=resnet50")
    assert made["unetpp"].model["encoder"] == "resnet50"


@pytest.mark.parametrize(
    ("names", "texts", "words"),
    [
        (["unetpp", "sam_zeroshot"], ["train.lr=1"], "does not fit sam_zeroshot .* not trained"),
        (["sam_zeroshot"], ["train.steps=10"], "sam_zeroshot is not trained here"),
        (["unetpp", "mask2former"], ["model.encoder=x"], "Name the backend.* --set unetpp:model"),
        (["unetpp", "sam2_v3"], ["train.steps=9"], "does not fit unetpp .*only sam2_v3"),
        (["unetpp"], ["train.steps=9"], "it has no effect, since the suite says how long"),
        (["unetpp"], ["train.budget=recipe"], "does not say how long it trains"),
        (["unetpp"], ["view.size=64"], "it has no effect.*view.protocol=squash"),
        (["unetpp"], ["train.lr=1", "train.lr=2"], "train.lr is set twice"),
        (["floor_majority"], ["tracker=x"], "floors take no settings"),
        (["unetpp"], ["model.encodr=x"], "Did you mean model.encoder"),
        (["foundation"], ["model.head={widht: 9}"], "no model.head.widht. Did you mean .*width"),
        (["foundation"], ["model={head: {widht: 9}}"], "no model.head.widht. Did you mean .*width"),
        (["foundation"], ["model.head={}"], "an empty one changes nothing of model.head"),
        (["unetpp"], ["train={lr: 1, steps: 9}"], "no effect, since the suite says how long"),
        (["unetpp"], ["train={lr: 1}", "train.lr=2"], "train.lr is set twice"),
        (["sam3_text"], ["predict.phrases.muscle=[a]"], "no predict.phrases.muscle"),
        (["sam3_text"], ["predict.phrases={muscle: [a]}"], "no predict.phrases.muscle"),
        (["sam2_v3"], ["loss.class_weights={muscle: 9}"], "no loss.class_weights.muscle"),
        (["sam2_v3"], ["train.epochs=null", "train.steps=null"], "not say how long it trains"),
        (["unetpp"], ["train={budget: recipe}"], "does not say how long it trains"),
        (["sam2_v3"], ["train.rare_class_probability=1"], "whole ROIs here and trains on no tiles"),
        (["foundation"], ["model.adaptation.rank=4"], "since model.adaptation.kind is full"),
        (["unetpp"], ["loss.beta=0.9"], "loss.class_weights is inverse_sqrt; .* is effective"),
        (["sam_zeroshot"], ["model.weights=a/b"], "no effect, since model.family is sam2"),
    ],
)
def test_what_would_do_nothing_is_refused(names, texts, words):
    with pytest.raises(RecipeError, match=words):
        recipes(names, *texts)


def test_what_another_setting_makes_idle_is_taken_with_that_one():
    texts = ["model.adaptation={kind: lora, rank: 4}", "loss.class_weights=effective"]
    made = recipes(["foundation"], *texts, "loss.beta=0.9")["foundation"]
    assert (made.model["adaptation"]["rank"], made.loss["beta"]) == (4, 0.9)
    assert recipes(["medsam"], "model.weights=a/b")["medsam"].model["weights"] == "a/b"


def test_tiles_are_drawn_around_rare_classes_where_there_are_tiles():
    text = "train.rare_class_probability=0.5"
    assert recipes(["unetpp"], text)["unetpp"].train.rare_class_probability == 0.5
    with pytest.raises(RecipeError, match="trains on no tiles"):
        recipes(["unetpp"], text, suite="bcss5-squash1024")


def test_a_rate_that_would_rise_is_refused_unless_nothing_is_trained():
    """As one does who lowers train.lr below the rate that the recipe ends at."""
    with pytest.raises(RecipeError, match=r"train.lr=1e-07 of sam2_v2 lies below its train.lr_end"):
        recipes(["sam2_v2"], "train.lr=1e-7", "train.lr_end=1e-6")
    low = recipes(["sam2_v2"], "train.lr=1e-7", "train.lr_end=1e-7")["sam2_v2"].train
    assert low.lr == low.lr_end == 1e-7


def test_a_mapping_takes_what_a_library_or_the_suites_classes_say_there_is():
    texts = ["model.head={width: 8}", "model.encoder.arguments={init_values: 0.5}"]
    model = recipes(["foundation"], *texts)["foundation"].model
    assert model["head"]["width"] == 8
    assert model["head"]["kind"] == "fpn"  # merged, not replaced
    assert model["encoder"]["arguments"]["init_values"] == 0.5
    loss = recipes(["foundation"], "loss={dice: 1e-1, cross_entropy: 2}")["foundation"].loss
    assert (loss["dice"], loss["cross_entropy"]) == (0.1, 2)  # YAML 1.1 reads 1e-1 as text
    mean = recipes(["foundation"], "model.normalisation.mean=[5e-1, .5, 0.5]")["foundation"].model
    assert mean["normalisation"]["mean"] == [0.5, 0.5, 0.5]
    for text in ("predict.phrases.mucus=[a]", "predict.phrases={mucus: [a]}"):
        assert recipes(["sam3_text"], text)["sam3_text"].predict["phrases"]["mucus"] == ["a"]
    weighted = recipes(["sam2_v3"], "loss.class_weights={mucus: 9}")["sam2_v3"]
    assert weighted.loss["class_weights"]["mucus"] == 9


def test_a_backend_that_is_not_in_the_command_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'unetpp'"):
        recipes(["unetpp"], "unetp:train.lr=1")


def test_evaluating_refuses_what_only_training_uses():
    for text in ("train.lr=1", "loss.dice=2"):
        with pytest.raises(RecipeError, match="evaluate trains nothing"):
            recipes(["unetpp"], text, evaluating=True)
    made = recipes(["unetpp"], "train.precision=bf16", "view.tta=true", evaluating=True)
    assert made["unetpp"].view.tta
