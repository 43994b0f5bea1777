"""Success criteria judged from intervals, when a board is read.

pass · fail · undecided · not measured (it could be, with more data or weights) · not applicable
(this track cannot have it). Each verdict carries its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbcss.scoring.limits import LIMITS

PASS, FAIL, UNDECIDED = "pass", "fail", "undecided"
NOT_MEASURED, NOT_APPLICABLE = "not measured", "not applicable"

STABILITY = {
    "stable": PASS,
    "collapsed": FAIL,
    "diverged": FAIL,
    "no learning": FAIL,
    "no gain": FAIL,
    "not applicable": NOT_APPLICABLE,
    "undefined": NOT_MEASURED,
}
# Over several tracks, the first of these that any track has.
_ORDER = (FAIL, UNDECIDED, NOT_MEASURED, PASS, NOT_APPLICABLE)


@dataclass(frozen=True)
class Verdict:
    """``metric`` and ``label`` name the criterion. ``point`` holds what was compared, in words, and
    ``by_point`` what the point estimates alone would say: pass, fail, or undecided where they
    disagree (None where nothing was compared)."""

    metric: str
    label: str
    status: str
    reason: str
    point: str | None = None
    by_point: str | None = None

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Estimate:
    """A point estimate (None: undefined), its interval (None: withheld, ``reason`` says why), and
    the effective number of ROIs behind it. ``name`` is that of the estimand."""

    name: str
    point: float | None
    interval: tuple[float, float] | None
    rois: float
    reason: str | None = None


def judge(
    metric: str,
    label: str,
    bound: float,
    estimates: Sequence[Estimate],
    *,
    at_most: bool = False,
) -> Verdict:
    """``pass`` when every interval lies at or above ``bound`` (``at_most``: at or below), ``fail``
    when every one lies on the other side, else ``undecided``. Below ten effective ROIs it is
    ``undecided`` in any case, and ``not measured`` where an estimate is undefined or there is
    none."""
    lost = next((estimate for estimate in estimates if estimate.point is None), None)
    if lost is not None or not estimates:
        reason = lost.reason if lost is not None else None
        return Verdict(
            metric, label, NOT_MEASURED, reason or "no ground truth of it in the scored ROIs"
        )

    def meets(value: float) -> bool:
        return value <= bound if at_most else value >= bound

    points = [e.point for e in estimates if e.point is not None]
    shown = ", ".join(f"{e.point:.3f} {e.name}" for e in estimates)
    by_point = _of([meets(p) for p in points], [not meets(p) for p in points])

    def verdict(status: str, reason: str) -> Verdict:
        return Verdict(metric, label, status, reason, shown, by_point)

    for estimate in estimates:
        if estimate.interval is None:
            why = estimate.reason or "too few ROIs"
            return verdict(UNDECIDED, f"no interval for {estimate.name}: {why}")
    bounds = [e.interval for e in estimates if e.interval is not None]
    status = _of(
        [meets(low) and meets(high) for low, high in bounds],
        [not meets(low) and not meets(high) for low, high in bounds],
    )
    text = "; ".join(
        f"{e.name} [{low:.3f}, {high:.3f}]"
        for e, (low, high) in zip(estimates, bounds, strict=True)
    )
    better, worse = ("below", "above") if at_most else ("above", "below")
    side = {PASS: better, FAIL: worse, UNDECIDED: "against"}[status]
    fewest = min(estimate.rois for estimate in estimates)
    if status != UNDECIDED and fewest < LIMITS.fewest_rois_for_a_verdict:
        return verdict(
            UNDECIDED,
            f"{text} {side} {bound:g}, but it rests on effectively {fewest:.1f} ROIs (fewer "
            f"than {LIMITS.fewest_rois_for_a_verdict:g})",
        )
    return verdict(status, f"{text} {side} {bound:g}")


def _of(met: Sequence[bool], missed: Sequence[bool]) -> str:
    return PASS if all(met) else FAIL if all(missed) else UNDECIDED


def not_applicable(metric: str, label: str, reason: str) -> Verdict:
    """A criterion that this track cannot have."""
    return Verdict(metric, label, NOT_APPLICABLE, reason)


def judge_stability(stability: Mapping[str, Any] | None) -> Verdict:
    """From the record of training (``status``, ``reason``, optional ``note``); None: not trained by
    the harness. Raises ValueError for a status that is not known."""
    metric, label = "stability", "stable training"
    if stability is None:
        return not_applicable(metric, label, "not trained by the harness")
    status, reason = stability["status"], stability["reason"]
    if status not in STABILITY:
        raise ValueError(f"The stability '{status}' is not one of {', '.join(STABILITY)}.")
    if stability.get("note"):
        reason += f"; {stability['note']}"
    return Verdict(metric, label, STABILITY[status], f"{status}: {reason}", status)


def over_tracks(tracks: Mapping[str, Sequence[Verdict]]) -> list[Verdict]:
    """One verdict per criterion over all tracks of a backend; ``tracks`` maps a track's name to its
    verdicts.

    Tracks that cannot have the criterion do not count. It passes when every other track passes and
    fails when one fails; otherwise it is undecided, or not measured.
    """
    by_criterion: dict[tuple[str, str], dict[str, Verdict]] = {}
    for track, verdicts in tracks.items():
        for verdict in verdicts:
            by_criterion.setdefault((verdict.metric, verdict.label), {})[track] = verdict
    return [_joined(parts) for parts in by_criterion.values()]


def _joined(parts: Mapping[str, Verdict]) -> Verdict:
    able = {t: v for t, v in parts.items() if v.status != NOT_APPLICABLE} or parts
    (first, *others) = able.values()
    if not others or all(other == first for other in others):
        return first
    status = next(status for status in _ORDER if any(v.status == status for v in able.values()))
    deciding = {t: v for t, v in able.items() if v.status == status}
    by_point = {v.by_point for v in able.values() if v.by_point}
    points = [f"{track}: {v.point}" for track, v in able.items() if v.point]
    return Verdict(
        first.metric,
        first.label,
        status,
        "; ".join(f"{track}: {v.reason}" for track, v in deciding.items()),
        "; ".join(points) or None,
        (by_point.pop() if len(by_point) == 1 else UNDECIDED) if by_point else None,
    )


def unmet(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that stop ``--check``: neither passed nor not applicable."""
    return [v for v in verdicts if v.status not in (PASS, NOT_APPLICABLE)]
