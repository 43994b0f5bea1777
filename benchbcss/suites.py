"""A benchmark definition: dataset, label map, split, protocol, tracks, criteria, budget."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from benchbcss.data.labels import LabelMap, build_label_map, label_map, official_codes
from benchbcss.errors import SuiteError, UnknownNameError
from benchbcss.recipes import Strict, explain, merge

Preset = Literal["full", "smoke"]


class Phantom(Strict):
    """Parameters of the embedded phantom."""

    rois: int = Field(24, ge=6)
    size: int = Field(512, ge=64)
    seed: int = 0


class Tile(Strict):
    """Side and overlap of tiles in pixels, for training and for stitched inference."""

    size: int = Field(1024, ge=32)
    overlap: int = Field(256, ge=0)


class Budget(Strict):
    """What every dense backend of the suite may spend in training: epochs or steps."""

    epochs: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)


class Criterion(Strict):
    """A success criterion: ``metric`` is mean_dice, clip_accuracy, stability, or dice.CLASS."""

    metric: str
    at_least: float | None = None


class Prompting(Strict):
    """How oracle prompts are made in the prompted track."""

    version: int = 1
    strategies: tuple[Literal["box"], ...] = ("box",)
    scopes: tuple[Literal["class"], ...] = ("class",)


class CustomLabelMap(Strict):
    """Classes of a suite's own: class name -> code names or codes; every code used once."""

    codes: dict[str, int] | None = None
    classes: dict[str, list[str | int]]
    ignore: tuple[str | int, ...] = ()
    mean: list[str] | None = None


class Suite(Strict):
    """A validated suite, preset applied."""

    name: str
    summary: str = ""
    phantom: Phantom | None = None
    label_map: str | CustomLabelMap
    split: str = "brief"
    protocol: Literal["native", "squash1024"] = "native"
    mpp: float = Field(0.30, gt=0, description="um per pixel; BCSS file names say 0.25, see docs")
    tile: Tile = Tile()
    tracks: tuple[Literal["semantic", "prompted"], ...] = ("semantic", "prompted")
    prompting: Prompting = Prompting()
    budget: Budget = Budget(epochs=100)
    floors: tuple[str, ...] = ("floor_majority", "floor_colour", "floor_box_fill")
    criteria: tuple[Criterion, ...] = ()
    default_preset: Preset = "full"
    ranked: bool = True

    def labels(self, table: dict[str, int] | None = None) -> LabelMap:
        """The label map, resolved through the dataset's code table."""
        if isinstance(self.label_map, str):
            return label_map(self.label_map, table)
        own = self.label_map
        raw = own.model_dump()
        return build_label_map(self.name, raw, own.codes or table or official_codes())

    def fingerprint(self) -> str:
        """SHA-256 of what can change a number."""
        content = self.model_dump(exclude={"summary", "criteria", "floors", "default_preset"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_suite(path: Path, preset: Preset | None = None) -> tuple[Suite, Preset]:
    """Read a suite file, apply ``preset`` (default: the suite's own). Raises SuiteError."""
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SuiteError(f"The suite file {path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise SuiteError(f"The suite file {path} is not a mapping of settings.")
    presets = raw.pop("presets", None) or {}
    chosen: Preset = preset or raw.get("default_preset", "full")
    raw.setdefault("name", path.stem)
    try:
        suite = Suite.model_validate(merge(raw, presets.get(chosen) or {}))
    except ValidationError as error:
        raise SuiteError(f"Suite {path}: {explain(error)}") from error
    labels = suite.labels()
    for criterion in suite.criteria:
        _check_metric(criterion.metric, labels, path)
    return suite, chosen


def _check_metric(metric: str, labels: LabelMap, path: Path) -> None:
    known = ["mean_dice", "clip_accuracy", "stability"]
    known += [f"dice.{name}" for name in labels.class_names]
    if metric not in known:
        raise SuiteError(f"Suite {path}: there is no metric '{metric}'. Known: {', '.join(known)}.")


def find_suite(name: str, known: dict[str, Path]) -> Path:
    """A registered suite's file, or the path of a user's own. Raises UnknownNameError."""
    if name in known:
        return known[name]
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    raise UnknownNameError("suite", name, known, "Or pass the path of a suite file (.yaml).")
