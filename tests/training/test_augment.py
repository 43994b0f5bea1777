"""Transforms by name: what they do, in which order, and who may name them."""

import sys

import pytest
import reference_augment
import torch
from torchvision.transforms.v2 import functional

from benchbcss.errors import PluginError, RecipeError, UnknownNameError
from benchbcss.recipes import Augment, Train, resolve
from benchbcss.training.augment import Pipeline, StainPerturbation, known, pipeline, turn_hue

SETTINGS = {
    "flips": True,
    "rot90": True,
    "rotate": 30,
    "color_jitter": 0.2,
    "stain": {"alpha": 0.2, "beta": 0.2},
    "elastic": {"alpha": 30, "sigma": 4, "p": 1},
    "blur": {"sigma": [0.1, 2.0], "p": 1},
}
EVERYTHING = Augment.model_validate(SETTINGS)
AS_A_LIST = [
    {"name": "flips"},
    {"name": "rot90"},
    {"name": "rotate", "degrees": 30},
    {"name": "elastic", "alpha": 30, "sigma": 4, "p": 1},
    {"name": "stain", "alpha": 0.2, "beta": 0.2},
    {"name": "color_jitter", "strength": 0.2},
    {"name": "blur", "sigma": [0.1, 2.0], "p": 1},
]


def read(augment):
    """``train.augment`` as a recipe gives it."""
    return Train.model_validate({"lr": 1, "batch_size": 1, "augment": augment}).augment


def augment(image, target, settings, generator):
    return pipeline(settings)(image, target, generator)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(size=64):
    """An image whose first channel is its target."""
    target = torch.zeros(size, size, dtype=torch.long)
    target[8:30, 20:50] = 1
    image = torch.full((3, size, size), 0.3)
    image[0] = target.float()
    return image, target


def same_pixels(image, expected, settings):
    """Hues are turned by another formula, which rounds differently; all else is bit by bit."""
    if getattr(settings, "color_jitter", 0):
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-5)
    else:
        assert torch.equal(image, expected)


def test_nothing_is_the_default():
    image, target = scene()
    same_image, same_target = augment(image, target, Augment(), generator())
    assert torch.equal(image, same_image)
    assert torch.equal(target, same_target)


@pytest.mark.parametrize(
    "settings",
    [
        {"flips": True, "rot90": True},
        {"rotate": 45},
        {"elastic": {"alpha": 30, "sigma": 4, "p": 1}},
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_geometry_moves_image_and_target_together(settings, seed):
    image, target = augment(*scene(), Augment.model_validate(settings), generator(seed))
    known = target != 255
    agree = ((image[0] > 0.5) == (target == 1))[known]
    assert agree.float().mean() > 0.97  # bilinear against nearest at borders
    assert (target == 1).sum() > 300


def test_what_comes_in_from_outside_is_ignored():
    _, target = augment(*scene(), Augment(rotate=45), generator(1))
    assert (target == 255).any()
    assert set(target.unique().tolist()) <= {0, 1, 255}


def test_colour_leaves_the_target_alone():
    settings = Augment.model_validate({"color_jitter": 0.3, "stain": {"alpha": 0.3, "beta": 0.3}})
    image, target = scene()
    other, same = augment(image, target, settings, generator())
    assert torch.equal(target, same)
    assert not torch.allclose(image, other)


def test_white_keeps_its_colour_under_stain():
    stain = StainPerturbation(alpha=0.5, beta=0.5)
    white, target = torch.ones(3, 8, 8), torch.zeros(8, 8, dtype=torch.long)
    moved, _ = stain.apply(white, target, generator())
    assert torch.allclose(moved, white, atol=1e-4)


def test_same_generator_same_sample():
    image = torch.rand(3, 64, 64, generator=generator(9))
    target = torch.randint(0, 3, (64, 64), generator=generator(9))
    first = augment(image, target, EVERYTHING, generator(5))
    again = augment(image, target, EVERYTHING, generator(5))
    other = augment(image, target, EVERYTHING, generator(6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].min() >= 0
    assert first[0].max() <= 1


def noise(shape=(48, 48), seed=9):
    image = torch.rand(3, *shape, generator=generator(seed))
    return image, torch.randint(0, 5, shape, generator=generator(seed))


@pytest.mark.parametrize("shape", [(48, 48), (40, 56)])
@pytest.mark.parametrize("only", [*SETTINGS, None])
@pytest.mark.parametrize("seed", range(3))
def test_the_mapping_form_gives_the_samples_it_always_gave(shape, only, seed):
    """Bit by bit against the function that it replaces, each setting alone and all together."""
    settings = Augment.model_validate({only: SETTINGS[only]} if only else SETTINGS)
    expected = reference_augment.augment(*noise(shape), settings, generator(seed))
    found = augment(*noise(shape), settings, generator(seed))
    same_pixels(found[0], expected[0], settings)
    assert torch.equal(found[1], expected[1])
    assert (found[0].dtype, found[1].dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize("backend", ["unetpp:unetpp", "sam2:sam2_v3", "mask2former:mask2former"])
@pytest.mark.parametrize("preset", ["full", "smoke"])
def test_so_do_the_built_in_recipes(backend, preset):
    plugin, _, name = backend.partition(":")
    settings = resolve(f"benchbcss_{plugin}:{name}.yaml", preset).train.augment
    expected = reference_augment.augment(*noise(), settings, generator(3))
    found = augment(*noise(), settings, generator(3))
    same_pixels(found[0], expected[0], settings)
    assert torch.equal(found[1], expected[1])


def test_a_list_in_the_fixed_order_equals_the_mapping():
    mapping = augment(*noise(), EVERYTHING, generator(4))
    named = augment(*noise(), read(AS_A_LIST), generator(4))
    assert torch.equal(mapping[0], named[0])
    assert torch.equal(mapping[1], named[1])


def test_a_list_is_applied_in_its_own_order():
    first = augment(*noise(), read(AS_A_LIST), generator(4))
    other = augment(*noise(), read(AS_A_LIST[::-1]), generator(4))
    assert not torch.equal(first[0], other[0])
    twice = read([{"name": "rotate", "degrees": 10}, {"name": "rotate", "degrees": 10}])
    assert len(pipeline(twice).transforms) == 2


def test_every_built_in_name_is_in_the_list_form_above():
    assert {step["name"] for step in AS_A_LIST} == set(known())


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "stain", "alpha": 0.3}, r"augment.0 \(stain\): beta: Field required"),
        ({"name": "flips", "p": 0.5}, r"augment.0 \(flips\): p: there is no such key"),
        ({"name": "rotate", "degrees": 200}, r"\(rotate\): degrees: .* less than or equal to 180"),
    ],
)
def test_settings_are_validated(step, message):
    with pytest.raises(RecipeError, match=message):
        pipeline(read([step]))


@pytest.mark.parametrize("sigma", [[-1, 1], [0.1, 0]])
@pytest.mark.parametrize("form", [dict, list])
def test_a_blur_of_nothing_is_refused_before_it_is_used(sigma, form):
    """It would end a training at the first sample that draws it."""
    blur = {"sigma": sigma, "p": 0.5}
    given = {"blur": blur} if form is dict else [{"name": "blur", **blur}]
    with pytest.raises((ValueError, RecipeError), match="greater than 0"):
        pipeline(read(given))


@pytest.mark.parametrize("size", [1, 5, 64])
def test_a_blur_wider_than_the_sample_fits_it(size):
    image, target = torch.rand(3, size, size, generator=generator()), torch.zeros(size, size).long()
    blurred, _ = augment(image, target, read({"blur": {"sigma": [99, 99], "p": 1}}), generator())
    assert blurred.isfinite().all()
    assert blurred.std() <= image.std()


def test_an_unknown_name_is_refused_with_a_guess():
    with pytest.raises(UnknownNameError, match="no augmentation 'stian'. Did you mean 'stain'"):
        pipeline(read([{"name": "stian", "alpha": 0.3, "beta": 0.3}]))


STRANGER = """
class Darken:
    def __init__(self, by):
        self.by = by

    def apply(self, image, target, generator):
        return image * (1 - self.by), target


class Nothing:
    pass
"""


def test_a_strangers_transform_is_named_like_any_other(tmp_path, monkeypatch):
    (tmp_path / "strangers_transforms.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strangers_transforms", raising=False)
    table = {
        **known(),
        "darken": "strangers_transforms:Darken",
        "nothing": "strangers_transforms:Nothing",
        "gone": "strangers_transforms:Gone",
    }
    image, target = noise()
    darken = pipeline(read([{"name": "darken", "by": 0.5}]), table)
    assert torch.equal(darken(image, target, generator())[0], image * 0.5)
    with pytest.raises(RecipeError, match=r"\(darken\): .*unexpected keyword argument 'of'"):
        pipeline(read([{"name": "darken", "of": 0.5}]), table)
    with pytest.raises(RecipeError, match=r"made a Nothing, which has no apply\(\)"):
        pipeline(read([{"name": "nothing"}]), table)
    with pytest.raises(RecipeError, match="cannot be imported from strangers_transforms:Gone"):
        pipeline(read([{"name": "gone"}]), table)


@pytest.mark.parametrize("turns", [-0.5, -0.21, -1 / 3, 0.0, 1e-4, 0.05, 1 / 6, 0.5])
def test_turning_hues_is_what_torchvision_does(turns):
    image = torch.rand(3, 60, 70, generator=generator())
    image[:, :10] = image[:1, :10]  # grey
    image[:, 10:20] = (image[:, 10:20] * 2).round() / 2  # ties of channels
    image[:, 20], image[:, 21] = 0, 1
    before = image.clone()
    expected = functional.adjust_hue(image, turns)
    torch.testing.assert_close(turn_hue(image, turns), expected, rtol=0, atol=5e-6)
    assert torch.equal(image, before)


def test_hue_jitter_draws_what_it_always_drew():
    """The realised turns, read back from a pure colour, are those of the generator."""
    red = torch.zeros(3, 2, 2)
    red[0] = 1
    jitter = pipeline(read([{"name": "color_jitter", "strength": 0, "hue": 0.1}]))
    drawing, drawn, realised = generator(5), [], []
    for _ in range(200):
        for _ in range(3):  # brightness, contrast, saturation
            torch.rand((), generator=drawing)
        drawn.append(-0.1 + 0.2 * float(torch.rand((), generator=drawing)))
    jittering, target = generator(5), torch.zeros(2, 2, dtype=torch.long)
    for _ in range(200):
        _, green, blue = jitter(red, target, jittering)[0][:, 0, 0].tolist()
        realised.append((green - blue) / 6)  # towards yellow or towards magenta
    assert realised == pytest.approx(drawn, abs=1e-6)
    assert min(realised) < -0.09
    assert max(realised) > 0.09


def raising(image, target):
    raise KeyError("theirs")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising, r"raised KeyError: 'theirs' \(\S*test_augment\.py, line \d+\)"),
        (lambda image, target: None, "returned None, expected the image and its target"),
        (lambda image, target: (image, target.numpy()), "expected the image and its target"),
        (
            lambda image, target: (image[:, 1:], target),
            r"returned an image of torch\.float32 \(3, 7, 9\), expected torch\.float32 \(3, 8, 9\)",
        ),
        (lambda image, target: (image.double(), target), r"an image of torch\.float64"),
        (lambda image, target: (image, target.float()), r"a target of torch\.float32"),
        (lambda image, target: (image / 0, target), "returned an image that is not finite"),
    ],
)
def test_what_a_strangers_transform_does_wrong_is_told_with_its_place(answer, words):
    class Theirs:
        def apply(self, image, target, generator):
            return answer(image, target)

    steps = Pipeline([Theirs()], ["train.augment.0 (theirs)"])
    with pytest.raises(PluginError, match=rf"^train\.augment\.0 \(theirs\) .*{words}"):
        steps(torch.rand(3, 8, 9), torch.zeros(8, 9, dtype=torch.int64), torch.Generator())
