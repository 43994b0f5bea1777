"""The record of a run: one set of models to write it, to read it and to publish its JSON Schema.

``python -m benchbcss.results.schema docs/schema`` writes the published files; a test keeps them
fresh. Undefined values are null, never NaN, and a share outside 0..1 is refused when read. Fields
may be added within a schema version; a reader ignores what it does not know.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from benchbcss.contract import TRACKS
from benchbcss.protocols import CORE

SCHEMA_VERSION: Literal[3] = 3
#: rises whenever the meaning of a number changes; results of different versions do not compare
METRICS_VERSION = 3

Share = Annotated[float, Field(ge=0, le=1)]
Bounds = tuple[Share, Share]
Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """Base of all parts. Frozen; NaN and infinity are refused, unknown fields ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, defer_build=True)


class Criterion(Record):
    """A success criterion of a suite: ``metric`` is mean_dice, clip_accuracy, stability, or
    METRIC.CLASS of a registered metric. ``at_least`` is asked of what is better higher, ``at_most``
    of what is better lower."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    at_least: float | None = None
    at_most: float | None = None


# -- one track's scores ----------------------------------------------------------------------------


class Estimand(Record):
    """One estimand's scores; ``defined`` of ``of`` classes have ground truth. Intervals are 95 %;
    where one is withheld, ``reasons`` (of a class) or ``mean_reason`` says why."""

    mean: Share | None
    defined: Count
    of: Count
    mean_interval: Bounds | None = Field(None, description="95 %, over ROIs")
    mean_effective_rois: float | None = None
    mean_reason: str | None = None
    mean_interval_institutes: Bounds | None = Field(
        None, description="95 %, over institutes: for a new hospital"
    )
    institutes_reason: str | None = None
    dice: dict[str, Share | None]
    intervals: dict[str, Bounds | None] = {}
    effective_rois: dict[str, float] = {}
    reasons: dict[str, str] = {}


class Headline(Record):
    """Both estimands; ``pooled`` is null where a track has none."""

    per_roi: Estimand
    pooled: Estimand | None = None


class Convention(Record):
    """Dice per class and its mean under another convention; see METHODOLOGY."""

    dice: dict[str, Share | None] | None
    mean: Share | None


class Distribution(Record):
    """Of a per-ROI score, over the ROIs where it is defined."""

    rois: Count
    mean: Share | None
    sd: float | None
    quartiles: tuple[Share, Share, Share] | None


class ByRoi(Record):
    """What each ROI adds to the ranked mean: ``contribution`` (they sum to the mean), ``influence``
    (the mean minus the mean without the ROI; null where nothing is left) and ``share`` (they sum to
    1). Two results of the same ROIs are compared by them alone."""

    roi: list[str]
    contribution: list[float]
    influence: list[float | None]
    share: list[float]


class RoiScore(Record):
    """An ROI and its mean over the classes present."""

    roi: str
    mean_dice: Share


class Site(Record):
    """An institute."""

    rois: Count
    mean_dice: Share


class Spread(Record):
    """How per-ROI Dice varies: per class, for the mean of an ROI, by institute."""

    classes: dict[str, Distribution]
    roi_mean: Distribution
    worst: list[RoiScore]
    institutes: dict[str, Site]


class Tissue(Record):
    """Any tissue against the rest, which misleads; ``skill`` is what a model adds to ``painter``,
    the score of painting tissue everywhere."""

    dice: Share | None
    painter: Share | None = None
    skill: float | None = None
    warning: str | None = None


class Confusion(Record):
    """Pixels by true (rows) and predicted class, and normalised by row and by column."""

    names: list[str]
    counts: list[list[Count]]
    by_truth: list[list[Share | None]]
    by_prediction: list[list[Share | None]]
    most_confused: list[str]


class SizeBin(Record):
    """True components of one size."""

    truth: Count
    recall: Share | None


class Clean(Record):
    """ROIs without the class that stayed without it."""

    clean: Count
    of: Count


class ObjectScores(Record):
    """8-connected components of one class, matched one to one at IoU > 0.5."""

    truth: Count
    predicted: Count
    matched: Count
    recall: Share | None
    precision: Share | None
    f1: Share | None
    recall_by_size_um2: dict[str, SizeBin]
    recall_covered_half: Share | None
    false_per_mm2: float | None
    splits: Count
    merges: Count
    clean_rois_without_class: Clean


class Boundary(Record):
    """Normalised surface Dice; ``counts`` are class -> surface elements (true, true near
    predicted, predicted, predicted near true)."""

    tolerance_um: float
    surface_dice: dict[str, Share | None]
    mean: Share | None
    counts: dict[str, tuple[Count, Count, Count, Count]] = {}


class MeanDice(Record):
    """Dice per class and its mean."""

    mean: Share | None
    dice: dict[str, Share | None]


class WithoutBorder(Record):
    """Dice without a band around class borders."""

    band_um: float
    per_roi: MeanDice
    pooled: MeanDice


class RegionAccuracy(Record):
    """Share of ground-truth regions that are mostly given their own label."""

    accuracy: Share | None
    regions: Count


class PromptingUsed(Record):
    """How oracle prompts were made."""

    key: str
    version: int
    strategy: str
    scope: str
    tta: bool
    only_largest: bool = Field(False, description="older name of postprocess: largest")
    postprocess: str = Field("none", description="of each mask: none, largest or close_fill")
    views: str = Field("mean_logits", description="how views are combined: mean_logits or vote")

    @model_validator(mode="before")
    @classmethod
    def _lift(cls, value: Any) -> Any:
        """Records older than ``postprocess`` say ``only_largest`` alone."""
        if isinstance(value, dict) and value.get("only_largest"):
            return {"postprocess": "largest", **value}
        return value


class OtherPrompting(Record):
    """Scores under a prompting that is not the headline's."""

    prompting: PromptingUsed
    headline: Headline
    ceiling: MeanDice | None = None


class NamedRegions(Record):
    """``confusion``: true class (rows) by chosen class; the last column: nothing was found."""

    accuracy: Share | None
    interval: Bounds | None = None
    effective_rois: float = 0.0
    reason: str | None = Field(None, description="why there is no interval")
    balanced: Share | None
    confusion: list[list[Count]]
    regions: Count


class Regions(Record):
    """How a labeller named the regions, or why that was not measured."""

    not_measured: str | None = None
    classes: list[str] = []
    rois: Count = 0
    predicted: NamedRegions | None = None
    ground_truth: NamedRegions | None = None
    clip: dict[str, Any] = {}


class MetricUsed(Record):
    """A registered metric: how to read it, and 95 % intervals: estimand -> class -> bounds."""

    label: str
    direction: Literal["higher", "lower"]
    plugin: str
    intervals: dict[str, dict[str, tuple[float, float] | None]] = {}


class TrackResult(Record):
    """One track's scores. ``classes`` are those in the mean, ``all_classes`` those scored."""

    classes: list[str]
    all_classes: list[str]
    rois: Count
    view: str
    headline: Headline
    per_class: dict[str, dict[str, dict[str, float | None]]] = Field(
        {}, description="estimand -> registered metric -> class -> value"
    )
    rois_with_class: dict[str, Count] = {}
    by_roi: ByRoi | None = None
    conventions: dict[str, Convention] = {}
    spread: Spread | None = None
    tissue: Tissue | None = Field(None, description="misleading; see its skill")
    confusion: Confusion | None = None
    objects: dict[str, ObjectScores] | None = None
    boundary: Boundary | None = None
    without_border: WithoutBorder | None = None
    region_accuracy: RegionAccuracy | None = None
    prompting: PromptingUsed | None = None
    ceiling: MeanDice | None = Field(
        None, description="what a perfect outline of the part pointed at would score"
    )
    others: list[OtherPrompting] = []
    regions: Regions | None = None
    metrics: dict[str, MetricUsed] = Field({}, description="what the names in per_class mean")

    @property
    def other_promptings(self) -> int:
        """How many ``others`` there are."""
        return len(self.others)

    @property
    def foreign_metrics(self) -> dict[str, str]:
        """{name: label} of ``metrics`` that are not the core's."""
        core = f"plugin '{CORE}' "
        return {
            k: used.label for k, used in self.metrics.items() if not used.plugin.startswith(core)
        }


# -- the run ---------------------------------------------------------------------------------------


class PluginUsed(Record):
    """Where a backend came from."""

    name: str
    distribution: str
    version: str


class SuiteUsed(Record):
    """``criteria`` as they stood when the run was made; ``file`` is a user's own suite file."""

    name: str
    fingerprint: str = Field(description="SHA-256")
    flaws: list[str] = []
    criteria: list[Criterion] = []
    highlight: str | None = None
    file: str | None = None


class LabelMapUsed(Record):
    """How the codes of masks became classes."""

    name: str
    fingerprint: str = Field(description="SHA-256")
    classes: dict[str, list[int]] = {}
    ignore: list[int] = []
    mean: list[str] = []
    not_ranked: str | None = None


class SplitUsed(Record):
    """Which ROIs trained, validated and were scored."""

    name: str = ""
    fingerprint: str = Field(description="SHA-256")
    train: Count = 0
    val: Count = 0
    test: Count = 0
    leakage: list[str] = []
    scored: Literal["val", "test"] = "test"


class DataUsed(Record):
    """``masks`` are the SHA-256 of the mask files that were scored, by ROI."""

    fingerprint: str = Field(description="SHA-256")
    phantom: bool
    masks: dict[str, str] = {}


class WeightsUsed(Record):
    """What was asked for and what was loaded."""

    requested: str = "auto"
    sha256: str | None = None
    provenance: str
    tcga_overlap: str = "not declared"
    loaded: dict[str, Any] | None = Field(
        None, description="how many of the network's tensors and parameters came from there"
    )


class Parameters(Record):
    """Of the network, by number."""

    total: Count
    trainable: Count


class Selection(Record):
    """How the run's settings were chosen by a sweep: the best of ``settings`` that were ever tried
    under its name, by ``rule``. ``tested``: how many of the others had been scored on the test ROIs
    by then, as no sweep does."""

    sweep: str
    rule: str
    settings: Count
    validation: Share
    validation_sd: float | None = None
    tested: Count = 0


class Stability(Record):
    """``evidence`` is what the status was judged from."""

    status: str
    reason: str
    note: str | None = None
    evidence: dict[str, Any] = {}


class WholeValidation(Record):
    """One of the best checkpoints on the whole validation set: ``watched`` is its monitored value
    on the part that was validated while training, ``monitored`` on all; null where a prediction was
    not finite."""

    step: Count
    watched: float
    monitored: float | None
    mean_dice: Share | None
    any_tissue_dice: Share | None = None
    dice: dict[str, Share | None] = {}


class ValidationUsed(Record):
    """What was validated: ``rois`` before training, every ``every`` epochs and at the end, and the
    best checkpoints by them on the whole set (``whole``, the best by ``rois`` first). Where
    ``whole`` is empty, ``rois`` are all of them, or training ended before a validation.
    ``passes`` are forward passes of the network, three for a sample that was trained on."""

    rois: list[str]
    of: Count
    every: Count
    share: Share
    share_planned: Share
    share_allowed: Share
    passes: dict[Literal["training", "validation"], Count]
    whole: list[WholeValidation] = []


class Training(Record):
    """What the harness's loop did; ``own_fit`` where the backend fitted itself."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    trained: bool = False
    own_fit: bool = False
    seconds: float | None = None
    budget: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    monitor: str | None = None
    best_validation: float | None = None
    best_mean_dice: float | None = None
    validation: ValidationUsed | None = None


class Cost(Record):
    """Seconds, memory in bytes, device and precision."""

    device: str | None = None
    device_type: str | None = None
    threads: int | None = None
    precision: str | None = None
    train_seconds: float | None = None
    train_images_per_second: float | None = None
    inference_seconds: dict[str, float] = {}
    total_seconds: float | None = None
    peak_host_bytes: Annotated[int | None, BeforeValidator(lambda v: v and int(v))] = None
    peak_gpu_bytes: Annotated[int | None, BeforeValidator(lambda v: v and int(v))] = None


class RunResult(Record):
    """The record of a finished run, ``result.json``."""

    schema_version: Literal[3] = 3
    metrics_version: int
    backend: str
    floor: bool
    plugin: PluginUsed | None = None
    run: str = ""
    name: str = Field("", description="given by --name")
    fingerprint: str = ""
    seed: int
    created: str
    preset: Literal["full", "smoke"]
    protocol: str
    mpp: float = Field(gt=0)
    suite: SuiteUsed
    label_map: LabelMapUsed
    split: SplitUsed
    data: DataUsed
    weights: WeightsUsed
    recipe: dict[str, Any] = {}
    budget: str | None = None
    selection: Selection | None = None
    parameters: Parameters | None = None
    evaluated: bool = Field(False, description="weights scored as they are, not trained here")
    not_measured: dict[str, str] = Field({}, description="track -> why")
    training: Training = Field(default_factory=Training)
    stability: Stability | None = None
    notes: dict[str, Any] = {}
    cost: Cost = Field(default_factory=Cost)
    packages: dict[str, str] = {}
    tracks: dict[str, TrackResult]

    @field_validator("tracks")
    @classmethod
    def _tracks_are_known(cls, value: dict[str, TrackResult]) -> dict[str, TrackResult]:
        if foreign := [name for name in value if name not in TRACKS]:
            raise ValueError(f"there is no track '{foreign[0]}' in this version")
        return value


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> JSON Schema of what the project publishes."""
    from benchbcss.suites import Suite

    return {
        "result.schema.json": _described(RunResult),
        "suite.schema.json": _described(Suite),
    }


def _described(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of ``model``, each field with its meaning: its own or that of descriptions.yaml,
    which only this needs, so that no other command spends time on it."""
    text = Path(__file__).with_name("descriptions.yaml").read_text(encoding="utf-8")
    meanings = yaml.safe_load(text)
    schema = model.model_json_schema()
    for name, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
        for key, field in part.get("properties", {}).items():
            if meaning := meanings.get(name, {}).get(key):
                field["description"] = meaning
    return schema


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m benchbcss.results.schema FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text(schema), encoding="utf-8")
