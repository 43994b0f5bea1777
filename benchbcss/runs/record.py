"""The record of a run: scored from disk, everything needed to defend the number, no NaN."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbcss.contract import Prompting, Scope
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.labels import LabelMap
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError
from benchbcss.inference.prompts import covered
from benchbcss.io import write_bytes
from benchbcss.runs import masks
from benchbcss.runs import regions as naming
from benchbcss.runs.spec import METRICS_VERSION, SCHEMA_VERSION, RunSpec
from benchbcss.scoring import metrics as m
from benchbcss.scoring import pair_counts, prompted_counts
from benchbcss.scoring.bootstrap import (
    DRAWS,
    SEED,
    Intervals,
    bootstrap,
    effective_rois,
    institute_interval,
)
from benchbcss.scoring.boundary import TOLERANCE_UM, surface_counts, without_border
from benchbcss.scoring.components import Objects, match_objects, summarise
from benchbcss.scoring.regions import region_score
from benchbcss.scoring.verdicts import Estimate, Verdict, judge, judge_stability
from benchbcss.suites import Suite

if TYPE_CHECKING:
    from benchbcss.runs.session import Session

PACKAGES = (
    "benchbcss",
    "torch",
    "torchvision",
    "numpy",
    "accelerate",
    "pillow",
    "sam2",
    "transformers",
    "timm",
    "segmentation-models-pytorch",
    "open_clip_torch",
    "scikit-learn",
)
CLIP_TRACK = "CLIP names the regions of the prompted track; region accuracy never stands in for it"


@dataclass
class Facts:
    """What a record says beside its scores. ``notes`` may hold ``weights`` and ``tcga_overlap``."""

    notes: dict[str, Any]
    training: dict[str, Any]
    cost: dict[str, Any]
    parameters: dict[str, int] | None = None
    floor: bool = False
    not_measured: dict[str, str] = field(default_factory=dict)


def build(
    spec: RunSpec,
    run_dir: Path,
    labels: LabelMap,
    rois: dict[str, Roi],
    tracks: list[str],
    promptings: Sequence[Prompting],
    facts: Facts,
) -> dict[str, Any]:
    """Score the stored predictions in ``run_dir`` and return the content of ``result.json``."""
    notes, training = dict(facts.notes), facts.training
    stability = training.get("stability") if training.get("trained") else None
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "metrics_version": METRICS_VERSION,
        "backend": spec.backend,
        "floor": facts.floor,
        "plugin": {
            "name": spec.plugin,
            "distribution": spec.distribution,
            "version": spec.distribution_version,
        },
        "run": spec.run_id(),
        "fingerprint": spec.fingerprint(),
        "seed": spec.seed,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "preset": spec.preset,
        "protocol": spec.suite.protocol,
        "mpp": spec.suite.mpp,
        "suite": {
            "name": spec.suite.name,
            "fingerprint": spec.suite_fingerprint,
            "flaws": list(spec.suite.flaws),
        },
        "label_map": {
            "name": labels.name,
            "fingerprint": spec.label_map_fingerprint,
            "classes": {name: list(codes) for name, codes in labels.classes},
            "ignore": list(labels.ignore),
            "mean": list(labels.mean),
            "not_ranked": labels.not_ranked,
        },
        "split": {
            "name": spec.split_name,
            "fingerprint": spec.split_fingerprint,
            "train": len(spec.split.train),
            "val": len(spec.split.val),
            "test": len(spec.split.test),
            "leakage": list(spec.leakage),
            "scored": spec.evaluate or "test",
        },
        "data": {"fingerprint": spec.data_fingerprint, "phantom": spec.data_is_phantom},
        "weights": {
            "requested": spec.weights,
            "sha256": spec.weights_sha256,
            "provenance": str(notes.pop("weights", "random")),
            "tcga_overlap": notes.pop("tcga_overlap", "not declared"),
        },
        "recipe": spec.recipe.model_dump(mode="json"),
        "budget": training.get("budget"),
        "parameters": facts.parameters,
        "evaluated": spec.evaluate is not None,
        "not_measured": facts.not_measured,
        "training": {k: v for k, v in training.items() if k not in ("notes", "stability")},
        "stability": stability,
        "notes": notes,
        "cost": facts.cost,
        "packages": _versions(),
    }
    clip = notes.get("clip")
    content["tracks"] = score(spec, labels, rois, tracks, stability, run_dir, promptings, clip)
    return m.jsonable(content)  # type: ignore[no-any-return]


def rescored(run_dir: Path, old: dict[str, Any]) -> dict[str, Any]:
    """The record with its tracks computed anew from stored predictions and the masks."""
    spec = RunSpec.model_validate_json((run_dir / "spec.json").read_text(encoding="utf-8"))
    source = Dataset(
        Path(spec.data_root), TileStore(Path(spec.store_root)), spec.suite.reading(), spec.sites
    )
    labels = spec.suite.labels(source.code_table())
    rois = source.rois(spec.scored, labels)
    prompted = old["tracks"].get("prompted", {})
    parts = [prompted, *prompted.get("others", [])] if prompted else []
    promptings = [Prompting.parse(part["prompting"]["key"]) for part in parts]
    tracks = score(
        spec,
        labels,
        rois,
        list(old["tracks"]),
        old.get("stability"),
        run_dir,
        promptings,
        old["notes"].get("clip"),
    )
    for name, section in tracks.items():
        section["view"] = old["tracks"][name]["view"]  # how it was predicted has not changed
    return m.jsonable({**old, "metrics_version": METRICS_VERSION, "tracks": tracks})  # type: ignore[no-any-return]


def score(
    spec: RunSpec,
    labels: LabelMap,
    rois: dict[str, Roi],
    tracks: list[str],
    stability: dict[str, Any] | None,
    run_dir: Path,
    promptings: Sequence[Prompting],
    clip: dict[str, Any] | None,
) -> dict[str, Any]:
    """Both tracks' sections; also writes ``counts.parquet``, the tables they follow from.

    ``promptings`` has the headline first; ``clip`` are the facts noted when regions were named.
    """
    sections: dict[str, Any] = {}
    table: list[tuple[str, str, str, str, str, int]] = []
    names = spec.scored
    if "semantic" in tracks:
        folder = masks.folder(run_dir)
        maps = [_measure(rois[n], labels, folder / n, spec.suite.mpp) for n in names]
        pairs = np.stack([each.pairs for each in maps])
        section = _semantic(spec.suite, labels, rois, names, pairs, stability)
        section |= _details(spec.suite, labels, maps, pairs)
        _write_objects(run_dir / "components.parquet", names, maps, labels.class_names)
        own = spec.recipe.view.protocol == "squash"
        section["view"] = f"squash{spec.recipe.view.size}" if own else spec.suite.protocol
        section["view"] += "+tta" if spec.recipe.view.tta else ""
        sections["semantic"] = section
        _tabulate(table, "semantic", "", names, [*labels.class_names, "ignored"], pairs, labels)
    if "prompted" in tracks:
        counts, ceilings = _prompted(rois, names, labels, promptings, run_dir)
        regions = _regions(labels, run_dir, clip or {})
        section = _prompted_section(
            spec.suite, labels, rois, names, counts, ceilings, regions, stability
        )
        # The whole ROI is encoded once, at this size.
        section["view"] = f"squash{spec.recipe.view.size}"
        sections["prompted"] = section
        for each, own_counts in counts.items():
            _tabulate(table, "prompted", each.key, names, list(labels.mean), own_counts, labels)
    _write_counts(run_dir / "counts.parquet", table)
    return sections


def _tabulate(
    table: list[tuple[str, str, str, str, str, int]],
    track: str,
    prompting: str,
    names: Sequence[str],
    rows: Sequence[str],
    counts: np.ndarray,
    labels: LabelMap,
) -> None:
    columns = ("TP", "FP", "FN", "TN") if track == "prompted" else labels.class_names
    for i, roi in enumerate(names):
        for r, true in enumerate(rows):
            table += [
                (track, prompting, roi, true, column, int(counts[i, r, c]))
                for c, column in enumerate(columns)
            ]


@dataclass
class _Map:
    """What one predicted label map is worth: pixel pairs, pairs away from borders, surface
    elements, and the objects of truth and prediction."""

    pairs: np.ndarray
    inner: np.ndarray
    surface: np.ndarray
    objects: tuple[Objects, Objects]


def _measure(roi: Roi, labels: LabelMap, path: Path, mpp: float) -> _Map:
    prediction = masks.read(path, roi.shape)
    target, classes, mean = roi.target(labels), len(labels.classes), labels.mean_classes
    tolerance = TOLERANCE_UM / mpp
    try:
        return _Map(
            pair_counts(target, prediction, classes),
            pair_counts(without_border(target, tolerance), prediction, classes)[:-1],
            surface_counts(target, prediction, mean, tolerance),
            match_objects(target, prediction, mean, mpp),
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _details(
    suite: Suite, labels: LabelMap, maps: Sequence[_Map], pairs: np.ndarray
) -> dict[str, Any]:
    """Objects, boundary, and Dice without the border band, of the classes in the mean."""
    mean = labels.mean_classes
    objects = [each.objects for each in maps]
    known = [int(each[:-1].sum()) for each in pairs]
    present = pairs[:, :-1].sum(2) > 0
    surface = np.stack([each.surface for each in maps]).sum(0)
    near = m.ratio(surface[:, 1] + surface[:, 3], surface[:, 0] + surface[:, 2])
    near = np.where(surface[:, 0] > 0, near, np.nan)  # absent from truth: undefined
    inner = m.Triple.of_confusion(np.stack([each.inner for each in maps]))
    bands = {"per_roi": m.per_roi_of(inner, mean), "pooled": m.pooled_of(inner, mean)}
    return {
        "objects": {
            name: summarise(objects, known, present[:, label], label, suite.mpp)
            for name, label in zip(labels.mean, mean, strict=True)
        },
        "boundary": {
            "tolerance_um": TOLERANCE_UM,
            "surface_dice": dict(zip(labels.mean, near, strict=True)),
            "mean": float(m.nanmean(near)),
            "counts": {
                "order": ["true", "true near predicted", "predicted", "predicted near true"],
                "by_class": surface,
            },
        },
        "without_border": {
            "band_um": TOLERANCE_UM,
            **{
                name: {
                    "mean": part.mean,
                    "dice": {c: part.dice[i] for c, i in zip(labels.mean, mean, strict=True)},
                }
                for name, part in bands.items()
            },
        },
    }


def _write_objects(
    path: Path, names: Sequence[str], maps: Sequence[_Map], classes: Sequence[str]
) -> None:
    """One row per object of truth and prediction: ``components.parquet``."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        key: [] for key in ("roi", "side", "class", "pixels", "matched", "covered", "counterparts")
    }
    for name, each in zip(names, maps, strict=True):
        for side, part in zip(("truth", "predicted"), each.objects, strict=True):
            columns["roi"] += [name] * len(part.label)
            columns["side"] += [side] * len(part.label)
            columns["class"] += [classes[int(label)] for label in part.label]
            columns["pixels"] += part.area.tolist()
            columns["matched"] += part.matched.tolist()
            columns["covered"] += part.covered.tolist()
            columns["counterparts"] += part.counterparts.tolist()
    text = {"roi", "side", "class"}
    arrays = {
        key: pa.array(values, pa.string()).dictionary_encode() if key in text else pa.array(values)
        for key, values in columns.items()
    }
    _write_parquet(path, arrays)


def _prompted(
    rois: dict[str, Roi],
    names: tuple[str, ...],
    labels: LabelMap,
    promptings: Sequence[Prompting],
    run_dir: Path,
) -> tuple[dict[Prompting, np.ndarray], dict[Scope, dict[str, Any] | None]]:
    """int64 [ROI, C, 4] of each prompting, and the ceiling of each scope: what a perfect outline of
    the part pointed at would score against the whole class. Each ROI's target is made once."""
    classes = labels.mean_classes
    counts = {each: np.zeros((len(names), len(classes), 4), np.int64) for each in promptings}
    true = np.zeros((len(names), len(classes)), np.int64)
    reached = {each.scope: np.zeros_like(true) for each in promptings}
    for i, name in enumerate(names):
        target = rois[name].target(labels)
        for each, own in counts.items():
            packed = masks.read(masks.folder(run_dir, each.key) / name, target.shape)
            found = {label: masks.unpack(packed, label) for label in classes}
            own[i] = prompted_counts(target, found, classes)
        for c, label in enumerate(classes):
            mask = target == label
            true[i, c] = np.count_nonzero(mask)
            for scope, hit in reached.items():
                hit[i, c] = true[i, c] if scope == "class" else covered(mask, scope)
    ceilings: dict[Scope, dict[str, Any] | None] = {}
    for scope, hit in reached.items():
        result = m.per_roi_of(m.Triple(hit, true, hit), range(len(classes)))
        dice = dict(zip(labels.mean, result.dice, strict=True))
        ceilings[scope] = None if scope == "class" else {"mean": result.mean, "dice": dice}
    return counts, ceilings


def _semantic(
    suite: Suite,
    labels: LabelMap,
    rois: dict[str, Roi],
    names: tuple[str, ...],
    pairs: np.ndarray,
    stability: dict[str, Any] | None,
) -> dict[str, Any]:
    counts = pairs[:, :-1]
    triple = m.Triple.of_confusion(counts)
    mean = labels.mean_classes
    scores = {"per_roi": m.per_roi_of(triple, mean), "pooled": m.pooled_of(triple, mean)}
    section = _common(suite, labels.class_names, mean, triple, scores, rois, names, stability)
    section["tissue"] = m.tissue_dice(pairs, labels.tissue_classes, scores["pooled"].mean)
    section["confusion"] = m.confusion_table(counts, labels.class_names)
    section["region_accuracy"] = m.region_accuracy(counts, mean)
    return section


def _prompted_section(
    suite: Suite,
    labels: LabelMap,
    rois: dict[str, Roi],
    names: tuple[str, ...],
    counts: dict[Prompting, np.ndarray],
    ceilings: dict[Scope, dict[str, Any] | None],
    regions: dict[str, Any],
    stability: dict[str, Any] | None,
) -> dict[str, Any]:
    """The headline prompting in full, the others by their scores alone."""
    mean = tuple(range(len(labels.mean)))
    parts = []
    for number, (prompting, own) in enumerate(counts.items()):
        triple = m.Triple.of_prompted(own)
        scores = {"per_roi": m.per_roi_of(triple, mean)}
        if number == 0:
            section = _common(
                suite, labels.mean, mean, triple, scores, rois, names, stability, regions
            )
            section["regions"] = regions
            section["counts"] = {"order": ["TP", "FP", "FN", "TN"], "by_class": own.sum(0)}
        else:
            intervals = bootstrap(triple, mean, "per_roi")
            headline = _headline(scores["per_roi"], intervals, labels.mean, mean)
            section = {"headline": {"per_roi": headline, "pooled": None}}
        section["prompting"] = {
            "key": prompting.key,
            "version": suite.prompting.version,
            "strategy": prompting.strategy,
            "scope": prompting.scope,
            "tta": prompting.tta,
            "only_largest": suite.prompting.only_largest,
        }
        section["ceiling"] = ceilings[prompting.scope]
        parts.append(section)
    parts[0]["others"] = parts[1:]
    return parts[0]


def _regions(labels: LabelMap, run_dir: Path, clip: dict[str, Any]) -> dict[str, Any]:
    """How well CLIP named the regions; or ``not_measured``, why not."""
    rows = naming.read(run_dir)
    if rows is None:
        return {"not_measured": clip.get("not_measured", "regions were not named in this run")}
    place = {name: index for index, name in enumerate(labels.mean)}
    section: dict[str, Any] = {"classes": list(labels.mean), "clip": clip}
    for kind in naming.KINDS:
        own = [row for row in rows if row["kind"] == kind]
        result = region_score(
            [row["roi"] for row in own],
            [place[row["true"]] for row in own],
            [place.get(row["chosen"], -1) for row in own],
            len(place),
        )
        section[kind] = vars(result)
    section["rois"] = len({row["roi"] for row in rows})
    return section


def _common(
    suite: Suite,
    classes: tuple[str, ...],
    mean: tuple[int, ...],
    triple: m.Triple,
    scores: dict[str, m.Score],
    rois: dict[str, Roi],
    names: tuple[str, ...],
    stability: dict[str, Any] | None,
    regions: dict[str, Any] | None = None,
) -> dict[str, Any]:
    intervals = {name: bootstrap(triple, mean, name) for name in scores}
    effective = [effective_rois(triple.true[:, c]) for c in range(len(classes))]
    sites = [rois[name].institute for name in names]
    headline: dict[str, Any] = {"per_roi": None, "pooled": None}
    for name, result in scores.items():
        headline[name] = _headline(result, intervals[name], classes, mean)
        wider = institute_interval(triple, sites, mean, name)
        headline[name]["mean_interval_institutes"] = wider
    per_class = {
        name: {
            metric: dict(zip(classes, getattr(result, metric), strict=True))
            for metric in ("dice", "iou", "precision", "recall")
        }
        for name, result in scores.items()
    }
    return {
        "classes": [classes[c] for c in mean],
        "all_classes": list(classes),
        "rois": len(names),
        "headline": headline,
        "per_class": per_class,
        "rois_with_class": dict(zip(classes, (triple.true > 0).sum(0), strict=True)),
        "effective_rois": dict(zip(classes, effective, strict=True)),
        "bootstrap": {
            "draws": DRAWS,
            "seed": SEED,
            "kind": "percentile, over ROIs",
            "dropped": dict(zip(classes, intervals["per_roi"].dropped, strict=True)),
        },
        "conventions": m.convention_table(triple, mean),
        "spread": m.spread(triple, mean, names, sites),
        "criteria": [
            verdict.plain()
            for verdict in _criteria(
                suite, classes, mean, triple, scores, intervals, effective, stability, regions
            )
        ],
    }


def _headline(
    score: m.Score, intervals: Intervals, classes: tuple[str, ...], mean: tuple[int, ...]
) -> dict[str, Any]:
    return {
        "mean": score.mean,
        "defined": score.defined,
        "of": score.of,
        "mean_interval": intervals.mean,
        "mean_interval_bca": intervals.mean_bca,
        "dice": {classes[c]: score.dice[c] for c in mean},
        "intervals": {classes[c]: intervals.classes[c] for c in mean},
        "intervals_bca": {classes[c]: intervals.classes_bca[c] for c in mean},
    }


def _criteria(
    suite: Suite,
    classes: tuple[str, ...],
    mean: tuple[int, ...],
    triple: m.Triple,
    scores: dict[str, m.Score],
    intervals: dict[str, Intervals],
    effective: list[float],
    stability: dict[str, Any] | None,
    regions: dict[str, Any] | None,
) -> list[Verdict]:
    """The suite's criteria on every estimand the track has."""
    with_class = (triple.true > 0).sum(0)
    verdicts = []
    for criterion in suite.criteria:
        metric, bound = criterion.metric, criterion.at_least
        if metric == "stability":
            verdicts.append(judge_stability(stability))
            continue
        label = f"{metric} >= {bound:g}" if bound is not None else metric
        if metric == "clip_accuracy":
            verdicts.append(_clip_verdict(label, bound or 0.0, regions))
            continue
        chosen = list(mean)
        if metric.startswith("dice."):
            wanted = metric.removeprefix("dice.")
            if wanted not in classes:
                verdicts.append(
                    Verdict(
                        metric, label, "not measured", f"'{wanted}' is not scored in this track"
                    )
                )
                continue
            chosen = [classes.index(wanted)]
        estimates = []
        for name, result in scores.items():
            one = metric != "mean_dice"
            point = float(result.dice[chosen[0]]) if one else result.mean
            complete = np.isfinite(result.dice[chosen]).all()
            interval = intervals[name].classes[chosen[0]] if one else intervals[name].mean
            rests_on = effective if name == "pooled" else with_class
            estimates.append(
                Estimate(
                    name,
                    point if complete else None,
                    interval,
                    min(float(rests_on[c]) for c in chosen),
                )
            )
        verdict = judge(metric, label, bound or 0.0, estimates)
        if verdict.status == "not measured":
            lost = [classes[c] for c in chosen if not triple.true[:, c].any()]
            verdict = Verdict(
                metric,
                label,
                "not measured",
                f"no ground truth of {', '.join(lost)} in the scored ROIs",
            )
        verdicts.append(verdict)
    return verdicts


def _clip_verdict(label: str, bound: float, regions: dict[str, Any] | None) -> Verdict:
    metric = "clip_accuracy"
    if regions is None:
        return Verdict(metric, label, "not measured", CLIP_TRACK)
    if "not_measured" in regions:
        return Verdict(metric, label, "not measured", regions["not_measured"])
    part = regions["predicted"]
    estimate = Estimate("of regions", part["accuracy"], part["interval"], regions["rois"])
    return judge(metric, label, bound, [estimate])


def _write_counts(path: Path, table: list[tuple[str, str, str, str, str, int]]) -> None:
    import pyarrow as pa

    columns = list(zip(*table, strict=True))
    names = ("track", "prompting", "roi", "true", "predicted")
    arrays: dict[str, Any] = {
        name: pa.array(list(column), pa.string()).dictionary_encode()
        for name, column in zip(names, columns[:5], strict=True)
    }
    arrays["pixels"] = pa.array(list(columns[5]), pa.int64())
    _write_parquet(path, arrays)


def _write_parquet(path: Path, arrays: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def cost(
    session: Session, training: dict[str, Any], inference: dict[str, float], begun: float
) -> dict[str, Any]:
    """Seconds, memory, device and precision of a run."""
    import torch

    cuda = session.accelerator.device.type == "cuda"
    seconds = training.get("loop_seconds") or 0.0
    return {
        "device": torch.cuda.get_device_name()
        if cuda
        else platform.processor() or platform.machine(),
        "device_type": session.accelerator.device.type,
        "threads": torch.get_num_threads(),
        "precision": str(session.accelerator.mixed_precision).replace("no", "fp32"),
        "train_seconds": training.get("seconds"),
        "train_images_per_second": training["images"] / seconds
        if seconds and training.get("images")
        else None,
        "inference_seconds": inference,
        "total_seconds": round(time.time() - begun, 2),
        "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if cuda else None,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
