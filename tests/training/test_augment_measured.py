"""What each transform really does to an image, measured, against what its recipe says.

Every measurement is made from images alone, with none of the transform's own code, over many
draws: the realised values must fill the recipe's range and not leave it.
"""

import colorsys
import math

import numpy as np
import pytest
import torch

from benchbcss.recipes import Train, resolve
from benchbcss.training.augment import known, pipeline

DRAWS = 200
V3 = resolve("benchbcss_sam2:sam2_v3.yaml", "full").train.augment
UNIFORM_SD = 1 / math.sqrt(3)  # of a uniform number in +-1


def draws(step, image, count=DRAWS):
    """Images out of one transform, given as in a recipe, for ``count`` seeds."""
    transform = pipeline(
        Train.model_validate({"lr": 1, "batch_size": 1, "augment": [step]}).augment
    )
    target = torch.zeros(image.shape[-2:], dtype=torch.long)
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        yield transform(image.clone(), target, generator)[0].double().numpy()


def is_uniform(values, reach, middle=0.0):
    """Values lie within ``reach`` of ``middle``, reach its ends, and spread as uniform ones."""
    values = (np.asarray(values) - middle) / reach
    assert np.abs(values).max() <= 1.01
    assert values.max() > 0.93
    assert values.min() < -0.93
    assert abs(values.mean()) < 0.15
    assert values.std() == pytest.approx(UNIFORM_SD, rel=0.12)


def coordinates_image(size):
    """Channels are x, y and a constant: where a pixel came from can be read off."""
    ramp = torch.linspace(0.1, 0.9, size)
    across, down = ramp.expand(size, size), ramp[:, None].expand(size, size)
    return torch.stack([across, down, torch.full((size, size), 0.5)])


@pytest.mark.parametrize("degrees", [15, V3.rotate])
def test_rotation_angles(degrees):
    size, angles = 65, []
    middle = np.s_[size // 2 - 8 : size // 2 + 9]
    for image in draws({"name": "rotate", "degrees": degrees}, coordinates_image(size)):
        # The gradient of the x ramp turns with the image.
        down, right = np.gradient(image[0][middle, middle])
        angles.append(math.degrees(math.atan2(down.mean(), right.mean())))
    is_uniform(angles, degrees)


@pytest.mark.parametrize("strength", [0.1, V3.color_jitter])
def test_jitter_factors_and_hue(strength):
    """Two colours in equal parts. Brightness scales the mean; contrast scales the difference of
    their greys beside it, saturation their chroma beside both, and hue turns the colour."""
    colours = torch.tensor([[0.50, 0.35, 0.40], [0.35, 0.45, 0.55]])
    image = colours.T[:, :, None].repeat_interleave(8, 1).expand(3, 16, 16).contiguous()
    grey_of = np.array([0.2989, 0.587, 0.114])

    def facts(picture):
        first, second = picture[:, 0, 0], picture[:, 8, 0]
        greys = np.array([first @ grey_of, second @ grey_of])
        hue, _, _ = colorsys.rgb_to_hsv(*first)
        return greys, np.ptp(first), hue

    before = facts(image.double().numpy())
    still = {"name": "color_jitter", "strength": strength, "hue": 0.0}
    brightness, contrast, saturation = [], [], []
    for picture in draws(still, image):
        greys, chroma, hue = facts(picture)
        assert hue == pytest.approx(before[2], abs=2e-3)
        brightness.append(greys.mean() / before[0].mean())
        contrast.append(np.diff(greys)[0] / np.diff(before[0])[0] / brightness[-1])
        saturation.append(chroma / before[1] / brightness[-1] / contrast[-1])
    for factors in (brightness, contrast, saturation):
        is_uniform(factors, strength, middle=1.0)

    def turns(step):
        return [facts(picture)[2] - before[2] for picture in draws(step, image)]

    is_uniform((np.array(turns({**still, "hue": 0.05})) + 0.5) % 1 - 0.5, 0.05)
    quarter = turns({"name": "color_jitter", "strength": strength})
    is_uniform((np.array(quarter) + 0.5) % 1 - 0.5, strength / 4)


RUIFROK = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [-0.209, -0.048, 0.593]])
VECTORS = RUIFROK / np.linalg.norm(RUIFROK, axis=1, keepdims=True)


def tissue(concentrations):
    """An image of one pixel row: concentrations [n, 3] along the unit stain vectors."""
    density = np.asarray(concentrations) @ VECTORS
    assert density.mean(1).min() > 0.25  # tissue, not background
    return torch.tensor(np.exp(-density).T[:, None, :], dtype=torch.float32)


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.1), (V3.stain.alpha, V3.stain.beta)])
def test_stain_scale_and_shift(alpha, beta):
    """Two pixels that differ in one stain give its scale and its shift, by a line through both."""
    scales, shifts = [[], [], []], [[], [], []]
    base = np.array([2.0, 1.0, 0.3])  # so dense that nothing is clamped at white
    for stain in range(3):
        more = base.copy()
        more[stain] += 0.4
        step = {"name": "stain", "alpha": alpha, "beta": beta}
        for image in draws(step, tissue([base, more])):
            found = -np.log(image[:, 0, :].T) @ np.linalg.inv(VECTORS)
            scale = (found[1, stain] - found[0, stain]) / 0.4
            scales[stain].append(scale)
            shifts[stain].append(found[0, stain] - scale * base[stain])
    for stain in range(3):
        is_uniform(scales[stain], alpha, middle=1.0)
        is_uniform(shifts[stain], beta)


@pytest.mark.parametrize(("alpha", "sigma"), [(60, 3), (V3.elastic.alpha, V3.elastic.sigma)])
def test_elastic_displacement(alpha, sigma):
    """Root mean square along each axis: alpha / (2 sigma sqrt(3 pi)) px, from the noise's variance
    1/3 and the Gaussian's sum of squares 1 / (4 pi sigma^2)."""
    size = 129
    image = coordinates_image(size)
    per_pixel = float(image[0, 0, 1] - image[0, 0, 0])
    inside = np.s_[20:-20, 20:-20]  # where the field is not mirrored at the border
    squares = {0: [], 1: []}
    step = {"name": "elastic", "alpha": alpha, "sigma": sigma, "p": 1}
    for moved in draws(step, image, count=30):
        for axis in (0, 1):
            shift = (moved[axis] - image[axis].double().numpy())[inside] / per_pixel
            squares[axis].append((shift**2).mean())
    expected = alpha / (2 * sigma * math.sqrt(3 * math.pi))
    for axis in (0, 1):
        assert math.sqrt(np.mean(squares[axis])) == pytest.approx(expected, rel=0.04)


def test_elastic_probability():
    image = coordinates_image(33)
    step = {"name": "elastic", "alpha": 30, "sigma": 3}  # half of the samples, unless told
    moved = [not np.array_equal(out, image.double().numpy()) for out in draws(step, image)]
    assert 0.4 < np.mean(moved) < 0.6


@pytest.mark.parametrize("sigma", [(0.5, 1.5), V3.blur.sigma])
def test_blur_sigma(sigma):
    """A single bright pixel becomes the kernel; the ratio of its neighbours is exp(-1/2 sigma^2),
    wherever the kernel is cut off."""
    image = torch.zeros(3, 21, 21)
    image[:, 10, 10] = 1
    low, high = sigma
    found = []
    for blurred in draws({"name": "blur", "sigma": list(sigma), "p": 1}, image):
        ratio = blurred[0, 10, 11] / blurred[0, 10, 10]
        if ratio > 1e-6:  # below a sigma of 0.19 px there is no neighbour to measure
            found.append(math.sqrt(-1 / (2 * math.log(ratio))))
        else:
            found.append(low)
            assert low < 0.2
    is_uniform(found, (high - low) / 2, middle=(high + low) / 2)


def test_blur_probability():
    image = coordinates_image(17).pow(2)
    step = {"name": "blur", "sigma": [1, 2], "p": V3.blur.p}
    blurred = [not np.allclose(out, image.double().numpy()) for out in draws(step, image)]
    assert np.mean(blurred) == pytest.approx(V3.blur.p, abs=0.1)


def test_flips_and_quarter_turns_are_all_equally_likely():
    image = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    for name, variants in (
        ("flips", [image, image.flip(-1), image.flip(-2), image.flip(-1).flip(-2)]),
        ("rot90", [image.rot90(turns, (-2, -1)) for turns in range(4)]),
    ):
        counts = np.zeros(4)
        for out in draws({"name": name}, image):
            counts += [np.array_equal(out, variant.double().numpy()) for variant in variants]
        assert counts.sum() == DRAWS
        assert counts.min() > DRAWS * 0.17


def test_no_built_in_transform_goes_unmeasured():
    measured = {"rotate", "color_jitter", "stain", "elastic", "blur", "flips", "rot90"}
    assert measured == set(known())
