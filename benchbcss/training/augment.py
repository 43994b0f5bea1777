"""Augmentation of image and target together, drawn from one generator per sample.

A recipe names transforms in order; each is an object with
``apply(image, target, generator) -> (image, target)`` on image float32 [3, H, W] in [0, 1] and
target int64 [H, W]. Geometry moves both, and what comes in from outside is ignored in the target.
Colour moves the image alone. Stain is perturbed in optical-density space along the haematoxylin,
eosin and residual axes of Ruifrok and Johnston (2001).

A transform is made from its settings in the recipe by ``factory(**settings)``, which refuses keys
that it does not know. Image and target may lie on a GPU, the generator never does: random numbers
are the same everywhere. A transform that is good for that says so by ``any_device = True``; others
are given both on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, Protocol

import torch
from pydantic import Field, ValidationError
from torch import Generator, Tensor

from benchbcss import registry
from benchbcss.contract import IGNORE
from benchbcss.data.stains import stain_vectors
from benchbcss.errors import BenchError, PluginError, RecipeError, UnknownNameError
from benchbcss.errors import explain as said
from benchbcss.mistakes import explain
from benchbcss.recipes import Augment, Blur, Elastic, NamedTransform, Stain, Strict

STAINS = torch.nn.functional.normalize(
    torch.tensor(stain_vectors("haematoxylin", "eosin", "residual")), dim=1
)
_UNMIXED = torch.linalg.inv(STAINS)
_WHITE = 0.94  # what lies outside a tile: slide background


class Augmentation(Protocol):
    """What a factory makes. The generator is the only source of randomness it may use."""

    def apply(
        self, image: Tensor, target: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]: ...


class Pipeline:
    """Transforms applied one after the other; the image is clamped to [0, 1] at the end.

    ``places`` says of each where a recipe asks for it, for messages.
    """

    def __init__(self, transforms: Sequence[Augmentation] = (), places: Sequence[str] = ()) -> None:
        self.transforms = tuple(transforms)
        self.places = tuple(places) or tuple(type(one).__name__ for one in transforms)

    def __call__(
        self, image: Tensor, target: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """image float32 [3, H, W] in [0, 1], target int64 [H, W] -> the same, transformed. Raises
        PluginError where a stranger's transform raises, or answers with something else."""
        device = image.device
        for transform, asked in zip(self.transforms, self.places, strict=True):
            place = device if getattr(transform, "any_device", False) else torch.device("cpu")
            given = image.to(place), target.to(place)
            if isinstance(transform, _BuiltIn):
                image, target = transform.apply(*given, generator)
            else:
                image, target = _checked(transform, asked, given, generator)
        image, target = image.to(device), target.to(device)
        return image.clamp(0, 1).contiguous(), target.contiguous()


def _checked(
    transform: Augmentation, asked: str, given: tuple[Tensor, Tensor], generator: Generator
) -> tuple[Tensor, Tensor]:
    shapes = [(part.shape, part.dtype) for part in given]
    try:
        answer = transform.apply(*given, generator)
    except BenchError:
        raise
    except Exception as error:
        raise PluginError(f"{asked} raised {said(error, type(transform).__module__)}") from error
    pair = isinstance(answer, tuple | list) and len(answer) == 2
    if not pair or not all(isinstance(part, Tensor) for part in answer):
        raise PluginError(f"{asked} returned {answer!r:.60}, expected the image and its target")
    for name, part, (shape, kind) in zip(("an image", "a target"), answer, shapes, strict=True):
        if (part.shape, part.dtype) != (shape, kind):
            raise PluginError(
                f"{asked} returned {name} of {part.dtype} {tuple(part.shape)}, expected {kind} "
                f"{tuple(shape)}"
            )
    image, target = answer
    if not bool(image.isfinite().all()):
        raise PluginError(f"{asked} returned an image that is not finite")
    return image, target


def pipeline(
    settings: Augment | Sequence[NamedTransform], registered: Mapping[str, str] | None = None
) -> Pipeline:
    """The transforms that a recipe's ``train.augment`` asks for.

    ``registered`` maps names to ``"module:factory"``; by default what plugins registered. Raises
    UnknownNameError for a name that nobody registered, RecipeError for settings that a transform
    refuses.
    """
    table = known() if registered is None else registered
    steps = _in_fixed_order(settings) if isinstance(settings, Augment) else settings
    made = [_make(index, step, table) for index, step in enumerate(steps)]
    return Pipeline(made, [f"train.augment.{i} ({step.name})" for i, step in enumerate(steps)])


def known() -> dict[str, str]:
    """The registered augmentations: name in a recipe -> "module:factory"."""
    return {name: entry.target for name, entry in registry.load().augmentations.items()}


def _make(index: int, step: NamedTransform, table: Mapping[str, str]) -> Augmentation:
    where = f"train.augment.{index} ({step.name})"
    if step.name not in table:
        raise UnknownNameError("augmentation", step.name, table, f"Named in train.augment.{index}.")
    module, _, factory = table[step.name].partition(":")
    try:
        transform: Augmentation = getattr(import_module(module), factory)(**step.settings)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explain(error)}") from error
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where}: {error}") from error
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{where} cannot be imported from {table[step.name]}: {error}") from error
    if not callable(getattr(transform, "apply", None)):
        raise RecipeError(
            f"{where}: {table[step.name]} made a {type(transform).__name__}, which has no apply()"
        )
    return transform


def _in_fixed_order(settings: Augment) -> list[NamedTransform]:
    """The mapping form of ``train.augment`` as a list: it always meant this order."""
    steps: list[tuple[str, dict[str, Any]]] = []
    if settings.flips:
        steps.append(("flips", {}))
    if settings.rot90:
        steps.append(("rot90", {}))
    if settings.rotate:
        steps.append(("rotate", {"degrees": settings.rotate}))
    if settings.elastic:
        steps.append(("elastic", settings.elastic.model_dump()))
    if settings.stain:
        steps.append(("stain", settings.stain.model_dump()))
    if settings.color_jitter:
        steps.append(("color_jitter", {"strength": settings.color_jitter}))
    if settings.blur:
        steps.append(("blur", settings.blur.model_dump()))
    return [NamedTransform.model_validate({"name": name, **given}) for name, given in steps]


class _BuiltIn(Strict):
    any_device: ClassVar[bool] = True


class Flips(_BuiltIn):
    """Left-right and up-down, each with probability a half."""

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        for axis in (-1, -2):
            if _draw(generator) < 0.5:
                image, target = image.flip(axis), target.flip(axis)
        return image, target


class QuarterTurns(_BuiltIn):
    """By 0, 90, 180 or 270 degrees, of square samples only."""

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        if image.shape[-1] != image.shape[-2]:
            return image, target
        turns = int(4 * _draw(generator))
        return image.rot90(turns, (-2, -1)), target.rot90(turns, (-2, -1))


class Rotation(_BuiltIn):
    """About the centre by an angle uniform in +-``degrees``."""

    degrees: float = Field(ge=0, le=180)

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        angle = _between(-self.degrees, self.degrees, generator)
        turned = F.rotate(image, angle, InterpolationMode.BILINEAR, fill=[_WHITE])
        labels = F.rotate(target[None], angle, InterpolationMode.NEAREST, fill=[IGNORE])
        return turned, labels[0]


class ElasticDeformation(_BuiltIn, Elastic):
    """Along a smooth random field; see ``recipes.Elastic`` for its size."""

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        if not _draw(generator) < self.p:
            return image, target
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        height, width = image.shape[-2:]
        noise = 2 * torch.rand(2, 1, height, width, generator=generator).to(image.device) - 1
        size = 2 * math.ceil(3 * self.sigma) + 1
        size = min(size, 2 * (min(height, width) // 2) - 1)
        smooth = F.gaussian_blur(noise, [size, size], [self.sigma, self.sigma])
        # torchvision counts displacement in half image sides.
        scale = torch.tensor([2 / width, 2 / height], device=image.device)
        options: dict[str, Any] = {"displacement": self.alpha * smooth.permute(1, 2, 3, 0) * scale}
        moved = F.elastic(image, interpolation=InterpolationMode.BILINEAR, fill=[_WHITE], **options)
        labels = F.elastic(
            target[None], interpolation=InterpolationMode.NEAREST, fill=[IGNORE], **options
        )
        return moved, labels[0]


class StainPerturbation(_BuiltIn, Stain):
    """Scale each stain's concentration by a factor uniform in 1 +- ``alpha``, and shift it by up to
    +- ``beta`` (natural optical density along the unit stain vector). The shift is full where the
    mean density of the three channels is 0.2 or more, and fades to nothing on white."""

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        density = -torch.log(image.clamp(1 / 255, 1))
        stains = STAINS.to(image)
        concentration = torch.einsum("chw,cs->shw", density, _UNMIXED.to(image))
        scale = (1 + self.alpha * (2 * torch.rand(3, generator=generator) - 1)).to(image)
        shift = (self.beta * (2 * torch.rand(3, generator=generator) - 1)).to(image)
        # The shift follows the amount of tissue, so that background keeps its colour.
        tissue = (density.mean(0, keepdim=True) / 0.2).clamp(0, 1)
        moved = concentration * scale[:, None, None] + shift[:, None, None] * tissue
        return torch.exp(-torch.einsum("shw,sc->chw", moved, stains)).clamp(0, 1), target


class ColorJitter(_BuiltIn):
    """Brightness, contrast and saturation by factors uniform in 1 +- ``strength``; hue by up to
    +- ``hue`` turns of the colour circle, a quarter of ``strength`` unless given."""

    strength: float = Field(ge=0, le=1)
    hue: float | None = Field(None, ge=0, le=0.5)

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        from torchvision.transforms.v2 import functional as F

        low, high = 1 - self.strength, 1 + self.strength
        image = F.adjust_brightness(image, _between(low, high, generator))
        image = F.adjust_contrast(image, _between(low, high, generator))
        image = F.adjust_saturation(image, _between(low, high, generator))
        if self.hue is None:
            turns = _between(-self.strength, self.strength, generator) / 4
        else:
            turns = _between(-self.hue, self.hue, generator)
        return turn_hue(image, turns), target


def turn_hue(image: Tensor, turns: float) -> Tensor:
    """float [3, H, W] with every hue moved by ``turns`` of the HSV colour circle.

    The same as torchvision's ``adjust_hue`` but for float32 rounding, in a third of the time: the
    largest and the smallest channel of a pixel stay as they are, and each channel is linear in hue
    between them, so the image is never converted to HSV and back.
    """
    red, green, blue = image
    largest, smallest = image.amax(0), image.amin(0)
    chroma = largest - smallest
    divisor = chroma.clamp_min(torch.finfo(image.dtype).tiny)  # grey has no hue, and none is seen
    sixths = torch.where(
        largest == red,
        (green - blue).div_(divisor),
        torch.where(
            largest == green,
            (blue - red).div_(divisor).add_(2),
            (red - green).div_(divisor).add_(4),
        ),
    )
    sixths = torch.remainder(sixths.add_(6 * turns), 6)
    share = torch.empty_like(image)  # of the chroma in each channel, before it is clamped
    torch.sub(sixths, 3, out=share[0]).abs_().sub_(1)
    torch.sub(sixths, 2, out=share[1]).abs_().neg_().add_(2)
    torch.sub(sixths, 4, out=share[2]).abs_().neg_().add_(2)
    return share.clamp_(0, 1).mul_(chroma).add_(smallest)


class GaussianBlur(_BuiltIn, Blur):
    """With probability ``p``, by a sigma uniform in the given range; the kernel ends at 2 sigma."""

    def apply(self, image: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        if not _draw(generator) < self.p:
            return image, target
        from torchvision.transforms.v2 import functional as F

        sigma = _between(*self.sigma, generator)
        # a mirror at the edge cannot be longer than the image itself
        size = min(2 * math.ceil(2 * sigma) + 1, 2 * min(image.shape[-2:]) - 1)
        return F.gaussian_blur(image, [size, size], [sigma, sigma]), target


def _draw(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))


def _between(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * _draw(generator)
