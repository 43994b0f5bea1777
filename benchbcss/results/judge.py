"""A suite's criteria, judged when a board is read and never stored.

The bounds are those of the suite as it is defined now: change one, and the verdict changes at the
next look. A suite that is no longer installed is judged by the bounds that its record kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchbcss import registry, yaml_text
from benchbcss.io import read_bytes
from benchbcss.presets import merge
from benchbcss.scoring.verdicts import (
    NOT_MEASURED,
    STABILITY,
    Estimate,
    Verdict,
    judge,
    judge_stability,
    not_applicable,
)
from benchbcss.tracks import TRACKS

if TYPE_CHECKING:
    from benchbcss.results.schema import (
        Criterion,
        Estimand,
        Headline,
        Regions,
        RunResult,
        Stability,
        SuiteUsed,
        TrackResult,
    )

CLIP_TRACK = "CLIP names the regions of the prompted track; region accuracy never stands in for it"
#: why a score has no interval, and how it gets one
UNRECORDED = "its record holds none (benchbcss rescore --tables makes one)"


def verdicts(result: RunResult, track: str) -> list[Verdict]:
    """One for each criterion of the suite, on every estimand that the track has."""
    criteria = criteria_of(result.suite, result.preset)
    return [_verdict(criterion, result, track) for criterion in criteria]


def look_again() -> None:
    """Suite files are read once while a board is read, and anew for the next."""
    _current.cache_clear()


def criteria_of(suite: SuiteUsed, preset: str) -> Sequence[Criterion]:
    """Of the suite's file as it is now; the record's own where there is none that is valid."""
    now = _current(suite.name, suite.file, preset, tuple(suite.criteria))
    return suite.criteria if now is None or now.invalid else now.criteria


def invalid_file(suite: SuiteUsed, preset: str) -> str | None:
    """The suite's file, where it is there but says no criteria: the record's own then count."""
    now = _current(suite.name, suite.file, preset, tuple(suite.criteria))
    return None if now is None else now.invalid


def highlight_of(suite: SuiteUsed, preset: str) -> str | None:
    """The class that the suite's boards show first; where it names none, the first that one of its
    criteria asks for."""
    now = _current(suite.name, suite.file, preset, tuple(suite.criteria))
    wanted = suite.highlight if now is None or now.invalid else now.highlight
    metrics = [criterion.metric.partition(".") for criterion in criteria_of(suite, preset)]
    return wanted or next((name for _, _, name in metrics if name), None)


@dataclass(frozen=True)
class _Now:
    """What a suite file says today that changes no number."""

    criteria: Sequence[Criterion] = ()
    highlight: str | None = None
    invalid: str | None = None  # the file's path


def estimands(headline: Headline) -> dict[str, Estimand]:
    """Those that there are, by name."""
    parts = {"per_roi": headline.per_roi, "pooled": headline.pooled}
    return {name: part for name, part in parts.items() if part is not None}


@lru_cache(maxsize=256)
def _current(
    name: str, file: str | None, preset: str, recorded: tuple[Criterion, ...]
) -> _Now | None:
    """Read from the file alone: validating the whole suite would import what reads images. Most
    often its criteria are those that were ``recorded``."""
    path = Path(file) if file else None
    if path is None:
        known = registry.load().suites
        path = known[name].load() if name in known else None
    try:
        if path is None:
            return None
        raw = yaml_text.load(read_bytes(path).decode("utf-8"))
        presets = raw.pop("presets", None) or {}
        content = merge(raw, presets.get(preset) or {})
        criteria = _valid(list(content.get("criteria") or ()), recorded)
    except OSError:
        return None
    except (TypeError, ValueError, AttributeError, yaml.YAMLError, RecursionError):
        return _Now(invalid=str(path))
    return _Now(criteria, content.get("highlight"))


def _valid(written: list[Any], recorded: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
    """What a suite's file says, as criteria. Those in a record are valid: where it says the same,
    pydantic is not needed. Raises ValueError."""
    if len(written) == len(recorded) and all(
        isinstance(one, dict) and {**dict.fromkeys(vars(known)), **one} == vars(known)
        for one, known in zip(written, recorded, strict=True)
    ):
        return recorded
    from benchbcss.results.schema import Criterion

    return tuple(Criterion.model_validate(one) for one in written)


def _verdict(criterion: Criterion, result: RunResult, track: str) -> Verdict:
    metric, part = criterion.metric, result.tracks[track]
    if metric == "stability":
        return _stability_verdict(result.stability)
    label, bound = _label(criterion)
    if metric == "clip_accuracy" and not TRACKS[track].labels_regions:
        return not_applicable(metric, label, CLIP_TRACK)
    if mistake := _mistake(criterion, result):
        return Verdict(metric, label, NOT_MEASURED, mistake)
    at_most = criterion.at_most is not None
    if metric == "clip_accuracy":
        return _clip_verdict(label, bound, part.regions, at_most=at_most)
    name, _, wanted = metric.partition(".")
    if wanted and wanted not in part.all_classes:
        return not_applicable(metric, label, f"'{wanted}' is not scored in this track")
    chosen, present = [wanted] if wanted else part.classes, part.rois_with_class
    if not all(present.get(cls) for cls in chosen):
        lost = [cls for cls in chosen if not present.get(cls)]
        why = f"no ground truth of {', '.join(lost)} in the scored ROIs"
        return Verdict(metric, label, NOT_MEASURED, why)
    if metric != "mean_dice" and name != "dice":
        return _metric_verdict(criterion, part, track, label, bound)
    estimates = [
        _estimate(estimand, values, wanted, part)
        for estimand, values in estimands(part.headline).items()
    ]
    return judge(metric, label, bound, estimates, at_most=at_most)


def _mistake(criterion: Criterion, result: RunResult) -> str | None:
    """Why nothing can be judged by a criterion as it is written: a suite is checked when it is run,
    and its file may have changed since."""
    if (criterion.at_least is None) == (criterion.at_most is None):
        return "the criterion needs one bound, at_least or at_most"
    if criterion.metric in ("mean_dice", "clip_accuracy"):
        return None
    name, _, wanted = criterion.metric.partition(".")
    classes = result.label_map.classes
    if not wanted or (classes and wanted not in classes):
        among = ", ".join(classes)
        missing = f"class '{wanted}'" if wanted else f"metric '{name}' without a class"
        return f"there is no {missing}" + (f"; classes are {among}" if among else "")
    known = name == "dice" or name in registry.load().metrics
    if known or any(name in part.metrics for part in result.tracks.values()):
        return None
    return f"there is no metric '{name}'"


def _stability_verdict(stability: Stability | None) -> Verdict:
    if stability is None:
        return judge_stability(None)
    if stability.status not in STABILITY:  # of a newer edition
        verdict = judge_stability(None)
        why = f"the status '{stability.status}' is not known to this version"
        return verdict._replace(status=NOT_MEASURED, reason=why)
    names = ("status", "reason", "note")
    return judge_stability({name: getattr(stability, name) for name in names})


def _label(criterion: Criterion) -> tuple[str, float]:
    if criterion.at_most is not None:
        return f"{criterion.metric} <= {criterion.at_most:g}", criterion.at_most
    bound = criterion.at_least
    return (criterion.metric if bound is None else f"{criterion.metric} >= {bound:g}"), bound or 0.0


def _estimate(name: str, estimand: Estimand, wanted: str, part: TrackResult) -> Estimate:
    if not wanted:
        rois = estimand.mean_effective_rois or 0.0
        return Estimate(name, estimand.mean, estimand.mean_interval, rois, estimand.mean_reason)
    if wanted in estimand.dice:
        point = estimand.dice[wanted]
    else:  # scored, but not in the mean
        point = part.per_class.get(name, {}).get("dice", {}).get(wanted)
    reason = estimand.reasons.get(wanted)
    if reason is None and wanted not in estimand.intervals:
        reason = UNRECORDED
    rois = estimand.effective_rois.get(wanted, 0.0)
    return Estimate(name, point, estimand.intervals.get(wanted), rois, reason)


def _metric_verdict(
    criterion: Criterion, part: TrackResult, track: str, label: str, bound: float
) -> Verdict:
    """Of a registered metric, by the intervals that were computed for it."""
    name, _, wanted = criterion.metric.partition(".")
    used = part.metrics.get(name)
    if used is None:
        entry = registry.load().metrics.get(name)
        if entry is not None and entry.info.measures(TRACKS[track].name):
            why = f"the record has no metric '{name}' (benchbcss rescore --tables measures it)"
            return Verdict(criterion.metric, label, NOT_MEASURED, why)
        return not_applicable(criterion.metric, label, f"this track has no metric '{name}'")
    estimates = []
    for estimand, metrics in part.per_class.items():
        point = metrics.get(name, {}).get(wanted)
        spans = used.intervals.get(estimand, {})
        rois = float(part.rois_with_class.get(wanted, 0))
        reason = f"{name} is undefined there" if point is None else None
        if reason is None and wanted not in spans:
            reason = UNRECORDED
        estimates.append(Estimate(estimand, point, spans.get(wanted), rois, reason))
    at_most = criterion.at_most is not None
    return judge(criterion.metric, label, bound, estimates, at_most=at_most)


def _clip_verdict(label: str, bound: float, regions: Regions | None, *, at_most: bool) -> Verdict:
    metric = "clip_accuracy"
    if regions is None or regions.predicted is None:
        why = regions and regions.not_measured
        return Verdict(metric, label, NOT_MEASURED, why or "not recorded")
    predicted = regions.predicted
    rois = predicted.effective_rois or float(regions.rois)
    estimate = Estimate(
        "of regions", predicted.accuracy, predicted.interval, rois, predicted.reason
    )
    return judge(metric, label, bound, [estimate], at_most=at_most)
