"""The shape of ``result.json``, as a JSON Schema for those who read it elsewhere.

``python -m benchbcss.runs.schema docs/schema`` writes the committed files; a test keeps them fresh.
Undefined values are null, never NaN. Fields may be added within a schema version; a reader should
ignore what it does not know.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Bounds = tuple[float, float]


class Open(BaseModel):
    """More fields than these may be present."""

    model_config = ConfigDict(extra="allow")


class Estimand(Open):
    """One estimand's headline: ``defined`` of ``of`` classes have ground truth."""

    mean: float | None
    defined: int
    of: int
    mean_interval: Bounds | None = Field(description="95 %, percentile, over ROIs")
    mean_interval_bca: Bounds | None = None
    mean_interval_institutes: Bounds | None = Field(
        None, description="95 %, whole institutes resampled: for a new hospital"
    )
    dice: dict[str, float | None]
    intervals: dict[str, Bounds | None]
    intervals_bca: dict[str, Bounds | None] = {}


class Headline(Open):
    per_roi: Estimand
    pooled: Estimand | None = Field(description="null in the prompted track")


class Criterion(Open):
    metric: str
    label: str
    status: Literal["pass", "fail", "undecided", "not measured", "not applicable"]
    reason: str
    point: str | None


class Prompting(Open):
    """How oracle prompts were made."""

    version: int
    strategy: str
    scope: str
    tta: bool
    key: str = ""
    only_largest: bool = False


class OtherPrompting(Open):
    """Scores under a prompting that is not the headline's."""

    prompting: Prompting
    headline: Headline
    ceiling: dict[str, Any] | None


class Track(Open):
    """One track's scores. ``classes`` are those in the mean."""

    classes: list[str]
    rois: int
    view: str
    headline: Headline
    per_class: dict[str, dict[str, dict[str, float | None]]] = Field(
        description="estimand -> dice, iou, precision, recall -> class"
    )
    criteria: list[Criterion]
    conventions: dict[str, Any]
    spread: dict[str, Any]
    tissue: dict[str, Any] | None = Field(None, description="misleading; see its skill")
    confusion: dict[str, Any] | None = None
    objects: dict[str, Any] | None = Field(None, description="per class, components matched 1:1")
    boundary: dict[str, Any] | None = None
    without_border: dict[str, Any] | None = None
    region_accuracy: dict[str, Any] | None = None
    prompting: Prompting | None = None
    ceiling: dict[str, Any] | None = None
    others: list[OtherPrompting] = []
    regions: dict[str, Any] | None = Field(None, description="how CLIP named them")


class Named(Open):
    name: str
    fingerprint: str = Field(description="SHA-256")


class Weights(Open):
    requested: str
    sha256: str | None
    provenance: str
    tcga_overlap: str


class Data(Open):
    fingerprint: str
    phantom: bool


class Result(Open):
    """``result.json``."""

    schema_version: Literal[1, 2]
    metrics_version: int
    backend: str
    floor: bool
    run: str
    fingerprint: str
    seed: int
    created: str
    preset: Literal["full", "smoke"]
    protocol: str
    mpp: float
    suite: Named
    label_map: Named
    split: Named
    data: Data
    weights: Weights
    recipe: dict[str, Any]
    training: dict[str, Any]
    stability: dict[str, Any] | None
    notes: dict[str, Any]
    cost: dict[str, Any]
    packages: dict[str, str]
    tracks: dict[Literal["semantic", "prompted"], Track]
    evaluated: bool = False
    not_measured: dict[str, str] = Field({}, description="track -> why")


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> JSON Schema."""
    from benchbcss.suites import Suite

    return {
        "result.schema.json": Result.model_json_schema(),
        "suite.schema.json": Suite.model_json_schema(),
    }


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text(schema), encoding="utf-8")
