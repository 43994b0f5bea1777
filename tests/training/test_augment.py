import pytest
import torch

from benchbcss.recipes import Augment
from benchbcss.training.augment import augment, perturb_stain

EVERYTHING = Augment.model_validate(
    {
        "flips": True,
        "rot90": True,
        "rotate": 30,
        "color_jitter": 0.2,
        "stain": {"alpha": 0.2, "beta": 0.2},
        "elastic": {"alpha": 30, "sigma": 4, "p": 1},
        "blur": {"sigma": [0.1, 2.0], "p": 1},
    }
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(size=64):
    """An image whose first channel is its target."""
    target = torch.zeros(size, size, dtype=torch.long)
    target[8:30, 20:50] = 1
    image = torch.full((3, size, size), 0.3)
    image[0] = target.float()
    return image, target


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
    settings = Augment.model_validate({"stain": {"alpha": 0.5, "beta": 0.5}}).stain
    white = torch.ones(3, 8, 8)
    assert torch.allclose(perturb_stain(white, settings, generator()), white, atol=1e-4)


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
