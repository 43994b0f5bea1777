"""A run, fully specified before it starts, and the fingerprint that says when two are the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from benchbcss.recipes import Recipe, Strict
from benchbcss.suites import ClipSpec, Suite

SCHEMA_VERSION = 2
METRICS_VERSION = 1

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
    "recipe",
    "preset",
    "weights",
    "weights_sha256",
    "clip",
    "evaluate",
    "processes",
    "seed",
)


class Parts(Strict):
    """File names of each part of the split, after restriction to the files present."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


class RunSpec(Strict):
    """Everything a worker needs."""

    schema_version: int = SCHEMA_VERSION
    metrics_version: int = METRICS_VERSION
    backend: str
    plugin: str
    distribution: str
    distribution_version: str
    suite: Suite
    suite_fingerprint: str
    label_map_fingerprint: str
    split_name: str
    split_fingerprint: str
    split: Parts
    #: {ROI: institute} where known, as the split and the suite's reader say it
    sites: dict[str, str] = {}
    leakage: tuple[str, ...] = ()
    data_fingerprint: str
    data_root: str
    data_is_phantom: bool
    store_root: str
    preset: str
    recipe: Recipe
    weights: str = "auto"
    weights_sha256: str | None = None
    clip: ClipSpec
    #: None trains and scores the test ROIs; 'val' or 'test' scores weights as they are
    evaluate: Literal["val", "test"] | None = None
    seed: int = 0
    #: training processes; each sees its share of a batch, which BatchNorm and batch Dice notice
    processes: int = 1
    device: str = "auto"

    @property
    def scored(self) -> tuple[str, ...]:
        """The ROIs that are predicted and scored."""
        return self.split.val if self.evaluate == "val" else self.split.test

    def fingerprint(self) -> str:
        """SHA-256 over FINGERPRINT_FIELDS."""
        dump = self.model_dump(mode="json")
        content: dict[str, Any] = {name: dump[name] for name in FINGERPRINT_FIELDS}
        content["recipe"].pop("tracker")  # where training is logged changes no number
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def run_id(self) -> str:
        return f"seed{self.seed}-{self.fingerprint()[:12]}"

    def run_dir(self, workspace: Path) -> Path:
        return workspace / "runs" / self.suite.name / self.backend / self.run_id()
