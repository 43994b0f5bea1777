import re
import sys

import pytest
import yaml

from benchbcss import registry
from benchbcss.errors import RecipeError
from benchbcss.recipes import resolve

ALL = sorted(registry.load().backends)
V3 = "benchbcss_sam2:sam2_v3.yaml"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("preset", ["full", "smoke"])
def test_every_shipped_recipe_is_valid_and_names_its_sources(name, preset):
    recipe = resolve(registry.load().backend(name).info.recipe, preset)
    assert recipe.sources


def test_v3_holds_the_tabled_values():
    recipe = resolve(V3, "full")
    train, loss = recipe.train, recipe.loss
    assert (train.lr, train.lr_end, train.warmup_steps) == (8e-5, 1e-6, 250)
    assert (train.weight_decay, train.batch_size, train.epochs, train.clip_norm) == (
        0.02,
        6,
        40,
        0.1,
    )
    assert (loss["mask"], loss["dice"], loss["iou"], loss["object"]) == (5, 2, 1, 1)
    assert loss["class_weights"] == {
        "tumor": 1.0,
        "stroma": 1.2,
        "lymphocyte": 3.9,
        "necrosis": 3.5,
        "blood_vessel": 15.9,
    }
    assert train.early_stopping.patience == 10
    assert train.early_stopping.min_delta == 0.001
    assert (recipe.view.protocol, recipe.view.size) == ("squash", 1024)
    augment = train.augment
    assert (augment.rotate, augment.color_jitter, augment.flips) == (90, 0.2, True)
    assert (augment.stain.alpha, augment.stain.beta) == (0.3, 0.3)
    assert (augment.elastic.alpha, augment.elastic.sigma) == (30, 4)
    assert (augment.blur.sigma, augment.blur.p) == ((0.1, 2.0), 0.3)


@pytest.mark.parametrize(
    ("name", "values", "loss"),
    [
        ("sam2_v1", (2e-5, 1e-6, 0, 0.05, 4, 150, 0.1, 0.3), (20, 1, 1, 1)),
        ("sam2_v2", (6e-5, 6e-6, 175, 0.01, 6, 100, 0.1, 0.2), (5, 2, 1, 1)),
    ],
)
def test_v1_and_v2_hold_the_tabled_values(name, values, loss):
    recipe = resolve(f"benchbcss_sam2:{name}.yaml", "full")
    train = recipe.train
    found = (
        train.lr,
        train.lr_end,
        train.warmup_steps,
        train.weight_decay,
        train.batch_size,
        train.epochs,
        train.clip_norm,
        train.augment.color_jitter,
    )
    assert found == values
    assert tuple(recipe.loss[key] for key in ("mask", "dice", "iou", "object")) == loss
    assert recipe.loss["class_weights"] is None
    assert train.monitor == "any_tissue_dice"
    assert (train.augment.flips, train.augment.rotate) == (True, 90)
    assert bool(train.unfreeze) == (name == "sam2_v2")


def test_overrides():
    recipe = resolve(V3, "full", ("train.warmup_steps=112", "train.lr=1e-4", "model.variant=t"))
    assert recipe.train.warmup_steps == 112
    assert recipe.train.lr == 1e-4
    assert recipe.model["variant"] == "t"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1", "there is no train.lrr. Did you mean train.lr?"),
        ("lr=1", "there is no lr. Did you mean train.lr?"),
        ("train.augment.stian.alpha=1", "there is no train.augment.stian.alpha"),
        ("trian.lr=1", "there is no trian.lr. Did you mean train.lr?"),
        ("model.varient=t", "there is no model.varient. Did you mean model.variant?"),
        ("name=x", "there is no name"),
        ("model=1", "there is no model"),
        ("train.lr=.inf", "train.lr must be a finite number"),
        ("loss.mask=nan", "loss.mask must be a finite number"),
        (":train.lr=1", "is not key.path=value"),
        ("train.lr", "is not key.path=value"),
        ("train.lr=[", "not YAML"),
        ("train.scales=&v [*v]", "train.scales holds itself"),
        ("train.augment=&v {a: *v}", "train.augment holds itself"),
        ("train.batch_size=0", "greater than or equal to 1"),
        ("train.augment.stain.alpha=-1", "train.augment.stain.alpha: Input should be greater"),
        ("train.augment=[{alpha: 1}]", "train.augment.0.name: Field required"),
    ],
)
def test_misspelt_overrides_are_refused(override, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        resolve(V3, "full", (override,))


def test_a_missing_recipe_names_its_path():
    with pytest.raises(RecipeError, match=r"none\.yaml cannot be read"):
        resolve("benchbcss_sam2:none.yaml", "full")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("- a\n- b", r"must be a mapping \('key: value'\), not a list"),
        ("name: one\npresets: [smoke]", "presets must be a mapping"),
        ("name: one\npresets: {smoke: 3}", r"presets\.smoke must be a mapping"),
        ("name: [one\ntrain: null", "cannot be read: while parsing a flow sequence"),
    ],
)
def test_a_recipe_that_is_no_mapping_is_named(tmp_path, monkeypatch, content, words):
    package = tmp_path / "written_wrong"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "r.yaml").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecipeError, match=rf"(?s)^Recipe .*r\.yaml.*{words}") as raised:
        resolve("written_wrong:r.yaml", "smoke")
    assert "\n" not in str(raised.value)
    sys.modules.pop("written_wrong", None)


@pytest.mark.parametrize("reference", ["r.yaml", ":r.yaml", "no_such_package:r.yaml"])
def test_a_reference_to_no_package_says_how_it_is_written(reference):
    with pytest.raises(RecipeError, match="'package:file.yaml'"):
        resolve(reference, "full")


def test_a_preset_overrides_only_what_it_names(tmp_path, monkeypatch):
    package = tmp_path / "own_recipes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    content = {
        "name": "x",
        "model": {"a": {"b": 1, "c": 2}},
        "presets": {"smoke": {"model": {"a": {"b": 3}}}},
    }
    (package / "x.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve("own_recipes:x.yaml", "smoke").model == {"a": {"b": 3, "c": 2}}
    assert resolve("own_recipes:x.yaml", "full").model == {"a": {"b": 1, "c": 2}}


def test_a_key_inside_a_list_does_not_replace_the_list(tmp_path, monkeypatch):
    package = tmp_path / "listed_recipes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    steps = [{"name": "flips"}, {"name": "stain", "alpha": 0.3, "beta": 0.3}]
    content = {"name": "x", "train": {"lr": 1, "batch_size": 1, "augment": steps}}
    (package / "x.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = resolve("listed_recipes:x.yaml", "full")
    assert [step.name for step in recipe.train.augment] == ["flips", "stain"]
    assert recipe.model_dump()["train"]["augment"] == tuple(steps)
    with pytest.raises(RecipeError, match=r"train.augment is a list here. Give it whole"):
        resolve("listed_recipes:x.yaml", "full", ("train.augment.stain.alpha=0.1",))
    whole = resolve("listed_recipes:x.yaml", "full", ("train.augment=[{name: rot90}]",))
    assert [step.name for step in whole.train.augment] == ["rot90"]


@pytest.mark.parametrize("override", ["train.steps=5", "train.epochs=2"])
def test_a_length_that_the_suite_sets_is_refused(override):
    reference = registry.load().backend("unetpp").info.recipe
    with pytest.raises(RecipeError, match="it has no effect, since the suite says how long"):
        resolve(reference, "full", (override,))
    recipe = resolve(reference, "full", ("train.budget=recipe", override))
    assert (recipe.train.steps, recipe.train.epochs) in ((5, None), (None, 2))


def test_of_two_lengths_the_idle_one_is_refused():
    with pytest.raises(RecipeError, match="train.steps=120 comes first"):
        resolve(V3, "smoke", ("train.epochs=3",))
    assert resolve(V3, "smoke", ("train.epochs=3", "train.steps=null")).train.epochs == 3
    assert resolve(V3, "full", ("train.epochs=3",)).train.epochs == 3


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A package of recipes, made of {name: content}."""

    def write(**recipes):
        package = tmp_path / f"of_{tmp_path.name}"  # a module of one name is imported once
        package.mkdir()
        (package / "__init__.py").write_text("")
        for name, content in recipes.items():
            (package / f"{name}.yaml").write_text(yaml.safe_dump(content))
        monkeypatch.syspath_prepend(str(tmp_path))
        return f"{package.name}:{{}}.yaml".format

    return write


def test_a_recipe_says_what_differs_from_the_one_it_extends(written):
    base = {
        "name": "base",
        "sources": {"train": "a"},
        "train": {"lr": 1, "batch_size": 4, "augment": {"flips": True, "rot90": True}},
        "loss": {"weights": {"tumor": 1.0}},
        "presets": {"smoke": {"train": {"lr": 2, "batch_size": 2}}},
    }
    middle = {"extends": "base.yaml", "name": "middle", "train": {"lr": 3}}
    own = {
        "extends": "middle.yaml",
        "name": "own",
        "sources": {"loss": "b"},
        "train": {"augment": {"rot90": False}},
        "loss": {"weights": None},
        "presets": {"smoke": {"train": {"batch_size": 1}}},
    }
    reference = written(base=base, middle=middle, own=own)
    full, smoke = (resolve(reference("own"), preset) for preset in ("full", "smoke"))
    assert (full.name, full.sources) == ("own", {"train": "a", "loss": "b"})
    assert (full.train.lr, full.train.batch_size) == (3, 4)
    assert (full.train.augment.flips, full.train.augment.rot90) == (True, False)
    assert full.loss == {"weights": None}
    assert (smoke.train.lr, smoke.train.batch_size) == (2, 1)  # a preset goes over everything
    assert resolve(reference("base"), "full").train.augment.rot90


def test_a_recipe_that_extends_what_is_not_there_or_itself_is_named(written):
    lost = {"extends": "nothing.yaml", "name": "lost"}
    one, two = {"extends": "two.yaml", "name": "one"}, {"extends": "one.yaml", "name": "two"}
    reference = written(lost=lost, one=one, two=two)
    with pytest.raises(RecipeError, match=r"nothing\.yaml cannot be read"):
        resolve(reference("lost"), "full")
    with pytest.raises(RecipeError, match=r"one\.yaml extends itself, by way of .*one.*two"):
        resolve(reference("one"), "full")


def test_a_recipe_extends_one_of_another_package(written):
    reference = written(own={"extends": V3, "name": "own", "train": {"lr": 1}})
    recipe, v3 = resolve(reference("own"), "full"), resolve(V3, "full")
    assert (recipe.name, recipe.train.lr) == ("own", 1)
    assert recipe.train.unfreeze == v3.train.unfreeze
    assert recipe.loss == v3.loss


IDLE = {
    "name": "x",
    "model": {"kind": "full", "rank": 4, "deep": {"a": 1}},
    "used_when": {"model.rank": {"model.kind": ["lora"]}, "model.deep": {"model.kind": ["deep"]}},
    "presets": {"smoke": {"model": {"kind": "lora"}}},
}


def test_a_setting_that_another_makes_idle_is_refused(written):
    reference = written(x=IDLE, y={"extends": "x.yaml", "name": "y"})("y")
    assert resolve(reference, "full").model["rank"] == 4
    for text in ("model.rank=8", "model.deep.a=2", "model={rank: 8}", "model={deep: {a: 2}}"):
        with pytest.raises(RecipeError, match=r"no effect, since model.kind is full; it is used"):
            resolve(reference, "full", (text,))
    assert resolve(reference, "smoke", ("model.rank=8",)).model["rank"] == 8
    assert resolve(reference, "full", ("model.rank=8", "model.kind=lora")).model["rank"] == 8


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([1], "must map settings"),
        ({"model.rnk": {"model.kind": ["lora"]}}, "there is no model.rnk"),
        ({"model.rank": {"model.knd": ["lora"]}}, "there is no model.knd"),
        ({"model.rank": "model.kind"}, "must map other settings"),
        ({"model.rank": {"model.kind": "lora"}}, "model.kind must be a list of values"),
    ],
)
def test_a_recipe_that_is_wrong_about_idle_settings_is_named(written, conditions, message):
    reference = written(x={**IDLE, "used_when": conditions})("x")
    with pytest.raises(RecipeError, match=f"x.yaml: used_when: .*{message}"):
        resolve(reference, "full")
