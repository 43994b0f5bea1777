"""A suite's criteria, judged when a board is read and never stored.

The bounds are those of the suite as it is defined now: change one, and the verdict changes at the
next look. A suite that is no longer installed is judged by the bounds that its record kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from benchbcss import names, registry, yaml_text
from benchbcss.io import read_bytes
from benchbcss.presets import merge
from benchbcss.scoring.verdicts import (
    NOT_MEASURED,
    STABILITY,
    Estimate,
    Said,
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
    part = result.tracks[track]
    spans = list(estimands(part.headline).items())
    return [
        _verdict(_asked(one.metric, one.at_least, one.at_most), result, track, part, spans)
        for one in criteria_of(result.suite, result.preset)
    ]


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


class _Asked(NamedTuple):
    """What a criterion asks for: ``name`` and ``wanted`` are the two parts of its metric, of which
    a mean has only the first."""

    metric: str
    name: str
    wanted: str
    label: str
    bound: float
    at_most: bool
    mistake: str | None  # why nothing can be judged by it

    def without(self, why: str) -> Verdict:
        return Verdict(self.metric, self.label, NOT_MEASURED, Said(why))


@lru_cache(maxsize=256)
def _asked(metric: str, at_least: float | None, at_most: float | None) -> _Asked:
    name, _, wanted = metric.partition(".")
    bounds = [bound for bound in (at_most, at_least) if bound is not None]
    sign = "<=" if at_most is not None else ">="
    return _Asked(
        metric,
        name,
        wanted,
        f"{metric} {sign} {bounds[0]:g}" if bounds else metric,
        bounds[0] if bounds else 0.0,
        at_most is not None,
        None if len(bounds) == 1 else "the criterion needs one bound, at_least or at_most",
    )


def _verdict(
    asked: _Asked,
    result: RunResult,
    track: str,
    part: TrackResult,
    spans: Sequence[tuple[str, Estimand]],
) -> Verdict:
    """``spans`` are the estimands of ``part``, which is the result's in ``track``."""
    metric, name, wanted, label, bound, at_most, mistake = asked
    if metric == "stability":
        return _stability_verdict(result.stability)
    if metric == "clip_accuracy" and not TRACKS[track].labels_regions:
        return not_applicable(metric, label, CLIP_TRACK)
    if mistake := mistake or _mistake(asked, result):
        return asked.without(mistake)
    if metric == "clip_accuracy":
        return _clip_verdict(asked, part.regions)
    if wanted and wanted not in part.all_classes:
        return not_applicable(metric, label, f"'{wanted}' is not scored in this track")
    present = part.rois_with_class
    lost = [cls for cls in ((wanted,) if wanted else part.classes) if not present.get(cls)]
    if lost:
        return asked.without(f"no ground truth of {', '.join(lost)} in the scored ROIs")
    if name == "mean_dice":
        estimates = [_estimate_of_mean(estimand, values) for estimand, values in spans]
    elif name == "dice":
        estimates = [_estimate(estimand, values, wanted, part) for estimand, values in spans]
    else:
        return _metric_verdict(asked, part, track)
    return judge(metric, label, bound, estimates, at_most=at_most)


def _mistake(asked: _Asked, result: RunResult) -> str | None:
    """Why nothing can be judged by a criterion as it is written: a suite is checked when it is run,
    and its file may have changed since."""
    metric, name, wanted, *_ = asked
    if metric in ("mean_dice", "clip_accuracy"):
        return None
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
        return Verdict(verdict.metric, verdict.label, NOT_MEASURED, Said(why))
    names = ("status", "reason", "note")
    return judge_stability({name: getattr(stability, name) for name in names})


def _estimate_of_mean(name: str, estimand: Estimand) -> Estimate:
    rois = estimand.mean_effective_rois or 0.0
    return Estimate(
        names.estimand(name), estimand.mean, estimand.mean_interval, rois, estimand.mean_reason
    )


def _estimate(name: str, estimand: Estimand, wanted: str, part: TrackResult) -> Estimate:
    if wanted in estimand.dice:
        point = estimand.dice[wanted]
    else:  # scored, but not in the mean
        point = part.per_class.get(name, {}).get("dice", {}).get(wanted)
    reason = estimand.reasons.get(wanted)
    if reason is None and wanted not in estimand.intervals:
        reason = UNRECORDED
    rois = estimand.effective_rois.get(wanted, 0.0)
    return Estimate(names.estimand(name), point, estimand.intervals.get(wanted), rois, reason)


def _metric_verdict(asked: _Asked, part: TrackResult, track: str) -> Verdict:
    """Of a registered metric, by the intervals that were computed for it."""
    name, wanted = asked.name, asked.wanted
    used = part.metrics.get(name)
    if used is None:
        entry = registry.load().metrics.get(name)
        if entry is not None and entry.info.measures(TRACKS[track].name):
            return asked.without(
                f"the record has no metric '{name}' (benchbcss rescore --tables measures it)"
            )
        return not_applicable(asked.metric, asked.label, f"this track has no metric '{name}'")
    estimates = []
    for estimand, metrics in part.per_class.items():
        point = metrics.get(name, {}).get(wanted)
        spans = used.intervals.get(estimand, {})
        rois = float(part.rois_with_class.get(wanted, 0))
        reason = f"{name} is undefined there" if point is None else None
        if reason is None and wanted not in spans:
            reason = UNRECORDED
        estimates.append(Estimate(names.estimand(estimand), point, spans.get(wanted), rois, reason))
    return judge(asked.metric, asked.label, asked.bound, estimates, at_most=asked.at_most)


def _clip_verdict(asked: _Asked, regions: Regions | None) -> Verdict:
    if regions is None or regions.predicted is None:
        return asked.without((regions and regions.not_measured) or "not recorded")
    predicted = regions.predicted
    rois = predicted.effective_rois or float(regions.rois)
    estimate = Estimate(
        "of regions", predicted.accuracy, predicted.interval, rois, predicted.reason
    )
    return judge(asked.metric, asked.label, asked.bound, [estimate], at_most=asked.at_most)
