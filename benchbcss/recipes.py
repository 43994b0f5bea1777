"""Recipes: how one backend is trained and used, as validated data.

A recipe is a YAML file beside its plugin. ``model``, ``loss`` and ``predict`` belong to the
backend; ``train`` and ``view`` belong to the harness and are validated here. A ``presets``
section holds overrides that are merged over the rest (``smoke`` for two CPU cores and minutes).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from benchbcss.errors import RecipeError


class Strict(BaseModel):
    """Base of everything read from YAML: an unknown key is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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

    sigma: tuple[float, float]
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
    lr: dict[str, float]


class Scale(Strict):
    """From ``epoch`` on, training samples are resized to ``size`` x ``size`` pixels."""

    epoch: int = Field(ge=0)
    size: int = Field(ge=32)


class EarlyStopping(Strict):
    """Stop after ``patience`` validations without a gain of ``min_delta``, counted after warmup."""

    patience: int = Field(ge=1)
    min_delta: float = Field(0.0, ge=0)


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
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    monitor: Literal["perclass_dice", "any_tissue_dice"] = Field(
        "perclass_dice",
        description="what picks the best checkpoint; any_tissue_dice misleads, kept to show it",
    )
    rare_class_probability: float = Field(0.0, ge=0, le=1)
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


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Deep merge of plain data: mappings merge, anything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def resolve(reference: str, preset: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Load ``"package:file.yaml"``, merge the preset, apply ``key.path=value`` overrides.

    Raises RecipeError naming the file or the override.
    """
    package, _, filename = reference.partition(":")
    path = Path(str(resources.files(package))) / filename
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"Recipe {path} cannot be read: {error}") from error
    presets = raw.pop("presets", None) or {}
    raw = merge(raw, presets.get(preset) or {})
    for text in overrides:
        raw = merge(raw, _override(text, raw))
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"Recipe {path} ({preset}): {explain(error)}") from error


def _override(text: str, raw: dict[str, Any]) -> dict[str, Any]:
    dotted, equals, value = text.partition("=")
    keys = dotted.split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set {text!r} is not key.path=value, for example train.lr=1e-4")
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"--set {text!r}: the value is not YAML: {error}") from error
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as text
        try:
            parsed = float(parsed)
        except ValueError:
            pass
    _no_list_on_the_way(keys, raw, text)
    if keys[0] in ("model", "loss", "predict"):
        _known_key(keys, raw, text)
    for key in reversed(keys):
        parsed = {key: parsed}
    return parsed  # type: ignore[no-any-return]


def _no_list_on_the_way(keys: list[str], raw: dict[str, Any], text: str) -> None:
    """A key inside a list would replace the whole list by one setting: refuse it."""
    node: Any = raw
    for depth, key in enumerate(keys[:-1], start=1):
        node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, list):
            dotted = ".".join(keys[:depth])
            raise RecipeError(
                f"--set {text!r}: {dotted} is a list here. Give it whole: --set '{dotted}=[...]'"
            )


def _known_key(keys: list[str], raw: dict[str, Any], text: str) -> None:
    """A backend's own sections have no schema: refuse keys its recipe does not have."""
    node: Any = raw
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            known = ", ".join(sorted(node)) if isinstance(node, dict) else "none"
            raise RecipeError(f"--set {text!r}: there is no '{key}' here. Known: {known}.")
        node = node[key]


def explain(error: ValidationError) -> str:
    """A pydantic error as one sentence."""
    parts = []
    for item in error.errors():
        # The tag of a union's branch says nothing to who wrote the file.
        steps = [step for step in item["loc"] if step not in (_MAPPING, _LIST)]
        where = ".".join(str(step) for step in steps) or "top level"
        parts.append(f"{where}: {item['msg']}")
    return "; ".join(parts)
