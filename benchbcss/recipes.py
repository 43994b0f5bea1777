"""Recipes: how one backend is trained and used, as validated data.

A recipe is a YAML file beside its plugin. ``model``, ``loss`` and ``predict`` belong to the
backend; ``train`` and ``view`` belong to the harness and are validated here. A ``presets``
section holds overrides that are merged over the rest (``smoke`` for two CPU cores and minutes).
``extends: FILE.yaml`` (of the same package) or ``extends: PACKAGE:FILE.yaml`` takes everything that
is not said from there. ``used_when`` says which settings others make idle, so that ``--set``
refuses them then: ``{model.adaptation.rank: {model.adaptation.kind: [lora, dora]}}``.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from benchbcss import yaml_text
from benchbcss.errors import RecipeError
from benchbcss.mistakes import explain
from benchbcss.overrides import idle, misfit, nested, parse, single, strange_conditions
from benchbcss.presets import merge

USED_WHEN = "used_when"


class Strict(BaseModel):
    """Base of everything read from YAML: an unknown key is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Elastic(Strict):
    """Elastic deformation (Simard et al. 2003): noise uniform in +-1, smoothed by a Gaussian of
    ``sigma`` px, times ``alpha``. The displacement along each axis has a root mean square of
    alpha / (2 sigma sqrt(3 pi)) px, which is 1.2 px for alpha 30 and sigma 4."""

    alpha: float = Field(ge=0)
    sigma: float = Field(gt=0)
    p: float = Field(0.5, ge=0, le=1)


class Stain(Strict):
    """H&E perturbation in optical-density space (natural logarithm): each stain's concentration is
    scaled by a factor uniform in 1 +- alpha and shifted by a number uniform in +- beta."""

    alpha: float = Field(ge=0)
    beta: float = Field(ge=0)


class Blur(Strict):
    """Gaussian blur: range of sigma in pixels and probability."""

    sigma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    p: float = Field(ge=0, le=1)


class Augment(Strict):
    """Training augmentation, applied to image and target together; all off by default.

    The order is fixed: flips, rot90, rotate, elastic, stain, color_jitter, blur. A recipe that
    wants another order, or a plugin's transform, gives a list of ``NamedTransform`` instead.
    """

    flips: bool = False
    rot90: bool = False
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, uniform in +-rotate")
    color_jitter: float = Field(
        0.0, ge=0, le=1, description="brightness, contrast, saturation 1 +- x; hue +- x/4 turns"
    )
    stain: Stain | None = None
    elastic: Elastic | None = None
    blur: Blur | None = None


class NamedTransform(BaseModel):
    """One transform of a list: its registered ``name``, and the settings that it validates itself
    when training begins, such as ``{name: stain, alpha: 0.3, beta: 0.3}``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


_MAPPING, _LIST = "(mapping)", "(list)"


def _form(value: Any) -> str:
    return _LIST if isinstance(value, (list, tuple)) else _MAPPING


Augmentations = Annotated[
    Annotated[Augment, Tag(_MAPPING)] | Annotated[tuple[NamedTransform, ...], Tag(_LIST)],
    Discriminator(_form),
]


class Unfreeze(Strict):
    """From ``epoch`` on, the named parameter groups run at a fixed rate (0 means frozen).

    Groups not named follow the recipe's main schedule."""

    epoch: int = Field(ge=0)
    lr: dict[str, Annotated[float, Field(ge=0)]]


class Scale(Strict):
    """From ``epoch`` on, training samples are resized to ``size`` x ``size`` pixels."""

    epoch: int = Field(ge=0)
    size: int = Field(ge=32)


class EarlyStopping(Strict):
    """Stop after ``patience`` validations without a gain of ``min_delta``, counted after warmup.

    Validations as ``validate_every`` asks for them, whether each is made or not: where they are
    rarer, so as to keep to their share of compute, the epochs that training waits stay the same.
    """

    patience: int = Field(ge=1)
    min_delta: float = Field(0.0, ge=0)


class Validating(Strict):
    """What validation may cost. Where the whole set, as often as ``validate_every`` says, takes
    more than ``share`` of a training's forward passes, a part of it is validated while training,
    or less often, and at the end the whole set for the ``best`` checkpoints of it; a sample that is
    trained on costs three passes. 1: no limit."""

    share: float = Field(0.25, gt=0, le=1, description="of all forward passes of a training")
    best: int = Field(3, ge=1, description="checkpoints validated on the whole set at the end")


class Train(Strict):
    """Settings of the shared training loop."""

    lr: float = Field(gt=0)
    lr_end: float = Field(0.0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(1, ge=1)
    budget: Literal["suite", "recipe"] = "suite"
    epochs: int | None = Field(None, ge=1, description="with budget: recipe")
    steps: int | None = Field(None, ge=1, description="with budget: recipe; wins over epochs")
    validate_every: int = Field(
        1, ge=1, description="epochs between validations; more where their share asks for it"
    )
    validation: Validating = Validating()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the GPU has it, else fp16; fp32 without a GPU"
    )
    channels_last: bool = Field(
        False, description="weights and images of convolutions in the order of cuDNN's fast kernels"
    )
    tf32: bool = Field(False, description="float32 products in TF32, on NVIDIA GPUs only")
    gradient_checkpointing: bool | Literal["auto"] = Field(
        "auto",
        description="compute the network's blocks again in the backward pass: less memory, more "
        "time, the same gradients; auto: on a GPU of less than 48 GB",
    )
    compile: bool = Field(False, description="torch.compile the loss, the network in it included")
    monitor: Literal["perclass_dice", "any_tissue_dice"] = Field(
        "perclass_dice",
        description="what picks the best checkpoint; any_tissue_dice misleads, kept to show it",
    )
    rare_class_probability: float = Field(0.0, ge=0, le=1)
    views: int | None = Field(
        None,
        ge=1,
        description="train on so many fixed views (tile and augmentation) of each ROI, which a "
        "frozen encoder sees once; none: new ones in every epoch",
    )
    augment: Augmentations = Augment()
    unfreeze: tuple[Unfreeze, ...] = ()
    early_stopping: EarlyStopping | None = None
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of an average of the weights, which is what is scored"
    )
    scales: tuple[Scale, ...] = Field((), description="multi-scale by epoch; none: as the view")


class View(Strict):
    """How the backend sees an ROI: as the suite says, or the whole ROI squashed to size x size."""

    protocol: Literal["suite", "squash"] = "suite"
    size: int = Field(1024, ge=32)
    tta: bool = Field(False, description="average four views (flips, 90 degrees) of tile or ROI")


class Recipe(Strict):
    """A resolved recipe: presets merged, overrides applied."""

    name: str
    summary: str = ""
    sources: dict[str, str] = {}
    view: View = View()
    tracker: str = Field("none", description="a registered tracker that logs the training, or none")
    train: Train | None = None
    model: dict[str, Any] = {}
    loss: dict[str, Any] = {}
    predict: dict[str, Any] = {}


def resolve(reference: str, preset: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Load ``"package:file.yaml"``, merge the preset, apply ``key.path=value`` overrides.

    Raises RecipeError naming the file or the override.
    """
    raw, path = load(reference, preset)
    parsed = [parse(text) for text in overrides]
    for override in parsed:
        if reason := misfit(override, raw, Recipe):
            raise override.refused(reason)
        raw = merge(raw, nested(override))
    recipe = validated(raw, path, preset)
    for override in (part for whole in parsed for part in single(whole)):
        if reason := idle(override, recipe, raw.get(USED_WHEN)):
            raise override.refused(reason)
    if reason := rising(recipe):
        raise RecipeError(reason)
    return recipe


def rising(recipe: Recipe) -> str | None:
    """Why its learning rate would rise in place of falling; None where it does not."""
    train = recipe.train
    if train is None or train.lr_end <= train.lr:
        return None
    return (
        f"train.lr={train.lr:g} of {recipe.name} lies below its train.lr_end={train.lr_end:g}, so "
        f"that the learning rate would rise. Set train.lr_end as well, to {train.lr:g} at most."
    )


def load(reference: str, preset: str) -> tuple[dict[str, Any], Path]:
    """``"package:file.yaml"`` as plain data with its preset merged, ``used_when`` beside the rest,
    and the file's path."""
    raw, path = _read(reference, ())
    presets = _mapping(raw.pop("presets", None), f"Recipe {path}: presets")
    chosen = _mapping(presets.get(preset), f"Recipe {path}: presets.{preset}")
    merged = merge(raw, chosen)
    if strange := strange_conditions(merged, merged.get(USED_WHEN)):
        raise RecipeError(f"Recipe {path}: {USED_WHEN}: {strange}")
    return merged, path


def _mapping(content: Any, what: str) -> dict[str, Any]:
    """``content``, or an empty one for nothing. Raises RecipeError naming ``what``."""
    if not isinstance(content, dict | None):
        raise RecipeError(f"{what} must be a mapping ('key: value'), not a {_yaml_kind(content)}.")
    return content or {}


def _yaml_kind(content: Any) -> str:
    return "list" if isinstance(content, list) else type(content).__name__


def _read(reference: str, above: tuple[str, ...]) -> tuple[dict[str, Any], Path]:
    """A file merged over the one that it extends. Raises RecipeError."""
    package, _, filename = reference.partition(":")
    if not (package and filename):
        raise RecipeError(f"The recipe '{reference}' must be named as 'package:file.yaml'.")
    try:
        path = Path(str(resources.files(package))) / filename
    except (ImportError, TypeError, ValueError) as error:
        raise RecipeError(
            f"The recipe '{reference}' cannot be found: there is no package '{package}'. Name it "
            f"as 'package:file.yaml'."
        ) from error
    if reference in above:
        raise RecipeError(f"Recipe {path} extends itself, by way of {', '.join(above)}.")
    try:
        raw = _mapping(yaml_text.load(path.read_text(encoding="utf-8")), f"Recipe {path}")
    except OSError as error:
        lacks = f"{path.name} must be among the package's data (package-data of pyproject.toml)"
        hint = f". {lacks}." if isinstance(error, FileNotFoundError) else ""
        raise RecipeError(f"Recipe {path} cannot be read: {error.strerror}{hint}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"Recipe {path} cannot be read: {said}") from error
    if not raw:
        raise RecipeError(f"Recipe {path} is empty. It needs a name at least.")
    base = raw.pop("extends", None)
    if base is None:
        return raw, path
    base = base if ":" in base else f"{package}:{base}"
    return merge(_read(base, (*above, reference))[0], raw), path


def validated(raw: dict[str, Any], path: Path, preset: str) -> Recipe:
    """Raises RecipeError."""
    try:
        return Recipe.model_validate({k: v for k, v in raw.items() if k != USED_WHEN})
    except ValidationError as error:
        raise RecipeError(f"Recipe {path} ({preset}): {explain(error, Recipe)}") from error
