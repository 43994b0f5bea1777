"""A run, fully specified before it starts, and the fingerprint that says when two are the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from benchbcss import names
from benchbcss.recipes import Recipe, Strict
from benchbcss.results.schema import METRICS_VERSION, SCHEMA_VERSION, Selection
from benchbcss.suites import ClipSpec, Suite
from benchbcss.weights import AnyWeights, Auto, Weights

#: what can change a number; device, worker count and folders are not here
FINGERPRINT_FIELDS = (
    "schema_version",
    "metrics_version",
    "suite_fingerprint",
    "label_map_fingerprint",
    "split_fingerprint",
    "data_fingerprint",
    "backend",
    "distribution",
    "distribution_version",
    "code_sha256",
    "core_sha256",
    "extensions",
    "recipe",
    "preset",
    "weights",
    "predictions_sha256",
    "clip",
    "evaluate",
    "processes",
    "seed",
)
#: newer ones, which count only where they are set: stored specifications keep their fingerprint
FINGERPRINT_FIELDS_IF_SET = ("sites_fingerprint",)
#: settings of training that are newer than stored specifications, with the value of those: the
#: same, where it stands, is left out
_NEWER = {
    "views": None,
    "channels_last": False,
    "tf32": False,
    "gradient_checkpointing": "auto",
    "compile": False,
}

#: of a run, in regular-expression syntax
NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"


class Parts(Strict):
    """File names of each part of the split, after restriction to the files present."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


class RunSpec(Strict):
    """Everything a worker needs."""

    schema_version: int = SCHEMA_VERSION
    metrics_version: int = METRICS_VERSION
    backend: Annotated[str, AfterValidator(names.validator("run"))]  # a folder of the workspace
    plugin: str
    distribution: str
    distribution_version: str
    #: of the plugin's own source files, and of those of the core that can change a number
    code_sha256: str = ""
    core_sha256: str = ""
    #: 'kind.name' -> the same of what other plugins add to this run: metrics, a reader, transforms
    extensions: dict[str, str] = Field(default_factory=dict)
    suite: Suite
    suite_fingerprint: str
    label_map_fingerprint: str
    split_name: str
    split_fingerprint: str
    split: Parts
    #: {ROI: institute} where known, as the split and the suite's reader say it
    sites: dict[str, str] = Field(default_factory=dict)
    #: of those of the ROIs that are scored, which intervals over institutes rest on
    sites_fingerprint: str = ""
    leakage: tuple[str, ...] = ()
    data_fingerprint: str
    data_root: str
    data_is_phantom: bool
    store_root: str
    preset: str
    recipe: Recipe
    weights: AnyWeights = Field(default_factory=Auto)
    #: of label maps made elsewhere
    predictions_sha256: str | None = None
    clip: ClipSpec
    #: None trains and scores the test ROIs; 'val' or 'test' scores weights as they are
    evaluate: Literal["val", "test"] | None = None
    seed: int = 0
    #: given by the user, to find the run again. It changes no number, so the fingerprint is without
    #: it; but it is part of the run's folder, so that a named run is never taken for another one
    name: str = Field("", pattern=f"^({NAME})?$")
    #: training processes; each sees its share of a batch, which BatchNorm and batch Dice notice
    processes: int = 1
    device: str = "auto"
    #: processes that read training samples; None: as many as cores and shared memory allow
    workers: int | None = None
    #: whether label maps may hold 255, which is no class; the backend says so
    abstains: bool = False
    #: how far it is to go for now: a sweep chooses between runs that are trained and validated
    until: Literal["training", "result"] = "result"
    #: by which sweep it was chosen
    selection: Selection | None = None

    @model_validator(mode="before")
    @classmethod
    def _lift_validation(cls, content: Any) -> Any:
        """Specifications that are older than the limit on validation were carried out without."""
        recipe = content.get("recipe") if isinstance(content, dict) else None
        if not isinstance(recipe, dict):
            return content
        train = recipe.get("train")
        if not isinstance(train, dict) or "validation" in train:
            return content
        return {**content, "recipe": {**recipe, "train": {**train, "validation": {"share": 1}}}}

    @model_validator(mode="before")
    @classmethod
    def _lift_weights(cls, content: Any) -> Any:
        """Specifications of the first edition hold a text and a hash."""
        if not isinstance(content, dict) or "weights_sha256" not in content:
            return content
        lifted = dict(content)
        digest = lifted.pop("weights_sha256")
        lifted["weights"] = Weights.lifted(lifted.pop("weights", "auto"), digest)
        if lifted.get("plugin") == "score":
            lifted["predictions_sha256"] = digest
        return lifted

    @property
    def scored(self) -> tuple[str, ...]:
        """The ROIs that are predicted and scored."""
        return self.split.val if self.evaluate == "val" else self.split.test

    def fingerprint(self) -> str:
        """SHA-256 over FINGERPRINT_FIELDS, and FINGERPRINT_FIELDS_IF_SET where set."""
        dump = self.model_dump(mode="json")
        content: dict[str, Any] = {name: dump[name] for name in FINGERPRINT_FIELDS}
        content |= {name: dump[name] for name in FINGERPRINT_FIELDS_IF_SET if dump[name]}
        content["weights"] = self.weights.identity()
        train = content["recipe"]["train"] or {}
        for name, before in _NEWER.items():
            if name in train and train[name] == before:
                train.pop(name)
        if train and train["validation"]["share"] == 1:  # likewise: they validated without a limit
            train.pop("validation")
        content["recipe"].pop("tracker")  # where training is logged changes no number
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def run_id(self) -> str:
        """The name of its folder: ``[NAME-]seed0-FINGERPRINT``."""
        name = f"{self.name}-" if self.name else ""
        return f"{name}seed{self.seed}-{self.fingerprint()[:12]}"

    def run_dir(self, workspace: Path) -> Path:
        return workspace / "runs" / self.suite.name / self.backend / self.run_id()
