"""A suite's criteria, judged when a board is read and never stored.

The bounds are those of the suite as it is defined now: change one, and the verdict changes at the
next look. A suite that is no longer installed is judged by the bounds that its record kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchbcss.errors import BenchError
from benchbcss.results.schema import Criterion, Estimand, RunResult, SuiteUsed, TrackResult
from benchbcss.scoring.verdicts import Estimate, Verdict, judge, judge_stability

if TYPE_CHECKING:
    from benchbcss.suites import Suite

CLIP_TRACK = "CLIP names the regions of the prompted track; region accuracy never stands in for it"


def verdicts(result: RunResult, track: str) -> list[Verdict]:
    """One for each criterion of the suite, on every estimand that the track has."""
    part = result.tracks[track]
    return [
        _verdict(criterion, part, result) for criterion in criteria_of(result.suite, result.preset)
    ]


def criteria_of(suite: SuiteUsed, preset: str) -> Sequence[Criterion]:
    """Of the suite's file as it is now; the record's own where there is none."""
    now = _current(suite.name, suite.file, preset)
    return suite.criteria if now is None else now.criteria


def highlight_of(suite: SuiteUsed, preset: str) -> str | None:
    """The class that the suite's boards show first; where it names none, the first that one of its
    criteria asks for."""
    now = _current(suite.name, suite.file, preset)
    wanted = suite.highlight if now is None else now.highlight
    metrics = [criterion.metric.partition(".") for criterion in criteria_of(suite, preset)]
    return wanted or next((name for _, _, name in metrics if name), None)


@lru_cache(maxsize=256)
def _current(name: str, file: str | None, preset: str) -> Suite | None:
    from benchbcss import registry
    from benchbcss.suites import load_suite

    path = Path(file) if file else None
    if path is None:
        known = registry.load().suites
        path = known[name].load() if name in known else None
    if path is None or not path.is_file():
        return None
    try:
        suite, _ = load_suite(path, preset)  # type: ignore[arg-type]
    except BenchError:
        return None
    return suite


def _verdict(criterion: Criterion, part: TrackResult, result: RunResult) -> Verdict:
    metric, bound = criterion.metric, criterion.at_least
    if metric == "stability":
        stability = result.stability
        return judge_stability(None if stability is None else stability.model_dump())
    label = f"{metric} >= {bound:g}" if bound is not None else metric
    if metric == "clip_accuracy":
        return _clip_verdict(label, bound or 0.0, part)
    wanted = metric.removeprefix("dice.")
    if metric != "mean_dice" and wanted not in part.all_classes:
        return Verdict(metric, label, "not measured", f"'{wanted}' is not scored in this track")
    chosen = part.classes if metric == "mean_dice" else [wanted]
    lost = [name for name in chosen if not part.rois_with_class.get(name)]
    if lost:
        why = f"no ground truth of {', '.join(lost)} in the scored ROIs"
        return Verdict(metric, label, "not measured", why)
    estimates = []
    for name, estimand in part.headline.estimands().items():
        rests_on = part.effective_rois if name == "pooled" else part.rois_with_class
        fewest = min(float(rests_on[each]) for each in chosen)
        estimates.append(
            _estimate(name, estimand, None if metric == "mean_dice" else wanted, fewest)
        )
    return judge(metric, label, bound or 0.0, estimates)


def _estimate(name: str, estimand: Estimand, wanted: str | None, rois: float) -> Estimate:
    if wanted is None:
        return Estimate(name, estimand.mean, estimand.mean_interval, rois)
    return Estimate(name, estimand.dice.get(wanted), estimand.intervals.get(wanted), rois)


def _clip_verdict(label: str, bound: float, part: TrackResult) -> Verdict:
    metric, regions = "clip_accuracy", part.regions
    if regions is None:
        return Verdict(metric, label, "not measured", CLIP_TRACK)
    if regions.predicted is None:
        return Verdict(metric, label, "not measured", regions.not_measured or "not recorded")
    found = regions.predicted
    estimate = Estimate("of regions", found.accuracy, found.interval, regions.rois)
    return judge(metric, label, bound, [estimate])
