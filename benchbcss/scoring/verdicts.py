"""Success criteria judged from intervals, when a board is read.

pass · fail · undecided · not measured (it could be, with more data or weights) · not applicable
(this track cannot have it). Each verdict carries its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
NOWHERE = "no ground truth of it in the scored ROIs"
# Over several tracks, the first of these that any track has.
_ORDER = (FAIL, UNDECIDED, NOT_MEASURED, PASS, NOT_APPLICABLE)


class Verdict(NamedTuple):
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
        return self._asdict()


class Estimate(NamedTuple):
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
    points, bounds, withheld = [], [], None
    for estimate in estimates:
        if estimate.point is None:
            return Verdict(metric, label, NOT_MEASURED, estimate.reason or NOWHERE)
        points.append(estimate.point)
        if estimate.interval is not None:
            bounds.append(estimate.interval)
        elif withheld is None:
            withheld = estimate
    if not points:
        return Verdict(metric, label, NOT_MEASURED, NOWHERE)
    shown = ", ".join([f"{e.point:.3f} {e.name}" for e in estimates])
    by_point = _of(points, points, bound, at_most)
    if withheld is not None:
        why = f"no interval for {withheld.name}: {withheld.reason or 'too few ROIs'}"
        return Verdict(metric, label, UNDECIDED, why, shown, by_point)
    lows, highs = zip(*bounds, strict=True)
    status = _of(lows, highs, bound, at_most)
    text = "; ".join(
        [
            f"{e.name} [{low:.3f}, {high:.3f}]"
            for e, (low, high) in zip(estimates, bounds, strict=True)
        ]
    )
    better, worse = ("below", "above") if at_most else ("above", "below")
    side = {PASS: better, FAIL: worse, UNDECIDED: "against"}[status]
    fewest = min([estimate.rois for estimate in estimates])
    if status != UNDECIDED and fewest < LIMITS.fewest_rois_for_a_verdict:
        why = (
            f"{text} {side} {bound:g}, but it rests on effectively {fewest:.1f} ROIs (fewer "
            f"than {LIMITS.fewest_rois_for_a_verdict:g})"
        )
        return Verdict(metric, label, UNDECIDED, why, shown, by_point)
    return Verdict(metric, label, status, f"{text} {side} {bound:g}", shown, by_point)


def _of(lows: Sequence[float], highs: Sequence[float], bound: float, at_most: bool) -> str:
    """PASS where every span meets ``bound`` whole, FAIL where every one misses it whole."""
    if at_most:
        met, missed = max(highs) <= bound, min(lows) > bound
    else:
        met, missed = min(lows) >= bound, max(highs) < bound
    return PASS if met else FAIL if missed else UNDECIDED


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
