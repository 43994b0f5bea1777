"""Success criteria judged from intervals, when a board is read.

pass · fail · undecided · not measured (it could be, with more data or weights) · not applicable
(this track cannot have it). Each verdict carries its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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


class Said(NamedTuple):
    """What a verdict says beside its status: why; what was compared, in words; and what the point
    estimates alone would say: pass, fail, or undecided where they disagree. None where nothing was
    compared."""

    reason: str
    point: str | None = None
    by_point: str | None = None


class Verdict:
    """``metric`` and ``label`` name the criterion. A board of ten thousand runs shows statuses
    alone, so that ``said`` may be what words the rest: it is called when that is first asked for.
    Verdicts that say the same are equal."""

    __slots__ = ("_said", "label", "metric", "status")

    def __init__(
        self, metric: str, label: str, status: str, said: Said | Callable[[], Said]
    ) -> None:
        self.metric, self.label, self.status, self._said = metric, label, status, said

    @property
    def said(self) -> Said:
        if not isinstance(self._said, Said):
            self._said = self._said()
        return self._said

    @property
    def reason(self) -> str:
        return self.said.reason

    @property
    def point(self) -> str | None:
        """What was compared, in words; None where nothing was."""
        return self.said.point

    @property
    def by_point(self) -> str | None:
        """The status by the point estimates alone; None where nothing was compared."""
        return self.said.by_point

    def plain(self) -> dict[str, Any]:
        head = {"metric": self.metric, "label": self.label, "status": self.status}
        return head | self.said._asdict()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verdict) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash((self.metric, self.label, self.status))

    def __repr__(self) -> str:
        return f"Verdict({', '.join(f'{name}={value!r}' for name, value in self.plain().items())})"


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
    lows, highs, withheld, fewest = [], [], False, math.inf
    for _, point, interval, rois, reason in estimates:
        if point is None:
            return Verdict(metric, label, NOT_MEASURED, Said(reason or NOWHERE))
        fewest = min(fewest, rois)
        if interval is None:
            withheld = True
        else:
            lows.append(interval[0])
            highs.append(interval[1])
    if not estimates:
        return Verdict(metric, label, NOT_MEASURED, Said(NOWHERE))
    by_interval = UNDECIDED if withheld else _of(lows, highs, bound, at_most)
    few = fewest < LIMITS.fewest_rois_for_a_verdict

    def said() -> Said:
        points = [point for _, point, *_ in estimates if point is not None]
        why = _compared(estimates, by_interval, bound, at_most)
        if few and by_interval != UNDECIDED:
            why += (
                f", but it rests on effectively {fewest:.1f} ROIs (fewer than "
                f"{LIMITS.fewest_rois_for_a_verdict:g})"
            )
        shown = ", ".join(
            f"{point:.3f} {e.name}" for e, point in zip(estimates, points, strict=True)
        )
        return Said(why, shown, _of(points, points, bound, at_most))

    return Verdict(metric, label, UNDECIDED if few else by_interval, said)


def _compared(estimates: Sequence[Estimate], status: str, bound: float, at_most: bool) -> str:
    """Which interval there is not, or every one, and on which side of the bound they lie."""
    spans = []
    for name, _, interval, _, reason in estimates:
        if interval is None:
            return f"no interval for {name}: {reason or 'too few ROIs'}"
        spans.append(f"{name} [{interval[0]:.3f}, {interval[1]:.3f}]")
    better, worse = ("below", "above") if at_most else ("above", "below")
    side = {PASS: better, FAIL: worse, UNDECIDED: "against"}[status]
    return f"{'; '.join(spans)} {side} {bound:g}"


def _of(lows: Sequence[float], highs: Sequence[float], bound: float, at_most: bool) -> str:
    """PASS where every span meets ``bound`` whole, FAIL where every one misses it whole."""
    if at_most:
        met, missed = max(highs) <= bound, min(lows) > bound
    else:
        met, missed = min(lows) >= bound, max(highs) < bound
    return PASS if met else FAIL if missed else UNDECIDED


def not_applicable(metric: str, label: str, reason: str) -> Verdict:
    """A criterion that this track cannot have."""
    return Verdict(metric, label, NOT_APPLICABLE, Said(reason))


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
    return Verdict(metric, label, STABILITY[status], Said(f"{status}: {reason}", status))


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
    said = Said(
        "; ".join(f"{track}: {v.reason}" for track, v in deciding.items()),
        "; ".join(points) or None,
        (by_point.pop() if len(by_point) == 1 else UNDECIDED) if by_point else None,
    )
    return Verdict(first.metric, first.label, status, said)


def unmet(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that stop ``--check``: neither passed nor not applicable."""
    return [v for v in verdicts if v.status not in (PASS, NOT_APPLICABLE)]
