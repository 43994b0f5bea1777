"""Success criteria judged from intervals: pass, fail, undecided, or not measured with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FEWEST_ROIS = 10.0  # below this, simulated coverage is 84 to 88 % rather than 95 %


@dataclass(frozen=True)
class Verdict:
    """``point`` holds what was compared, in words."""

    metric: str
    label: str
    status: str
    reason: str
    point: str | None = None

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Estimate:
    """A point estimate (None: undefined), its interval, and how many ROIs it rests on."""

    name: str
    point: float | None
    interval: tuple[float, float] | None
    rois: float


def judge(metric: str, label: str, at_least: float, estimates: Sequence[Estimate]) -> Verdict:
    """``pass`` when every interval lies at or above ``at_least``, ``fail`` when every one lies
    below, else ``undecided``; resting on fewer than 10 ROIs, at most ``undecided``."""
    if any(estimate.point is None for estimate in estimates):
        return Verdict(metric, label, "not measured", "no ground truth of it in the scored ROIs")
    point = ", ".join(f"{e.point:.3f} {e.name}" for e in estimates)
    if any(estimate.interval is None for estimate in estimates):
        return Verdict(metric, label, "undecided", "too few ROIs for an interval", point)
    lows = [e.interval[0] for e in estimates if e.interval]
    highs = [e.interval[1] for e in estimates if e.interval]
    shown = "; ".join(
        f"{e.name} [{e.interval[0]:.3f}, {e.interval[1]:.3f}]" for e in estimates if e.interval
    )
    if all(high < at_least for high in highs):
        return Verdict(metric, label, "fail", f"{shown} below {at_least:g}", point)
    if not all(low >= at_least for low in lows):
        return Verdict(metric, label, "undecided", f"{shown} against {at_least:g}", point)
    fewest = min(e.rois for e in estimates)
    if fewest < FEWEST_ROIS:
        return Verdict(
            metric,
            label,
            "undecided",
            f"{shown} above {at_least:g}, but it rests on effectively {fewest:.1f} "
            f"ROIs (fewer than {FEWEST_ROIS:g})",
            point,
        )
    return Verdict(metric, label, "pass", f"{shown} above {at_least:g}", point)


def judge_stability(stability: dict[str, Any] | None) -> Verdict:
    """From the record of training; untrained backends are not measured."""
    if stability is None:
        return Verdict(
            "stability",
            "stable training",
            "not measured",
            "not applicable: not trained by the harness's loop",
        )
    status, reason = stability["status"], stability["reason"]
    if stability.get("note"):
        reason += f"; {stability['note']}"
    unknown = dict.fromkeys(("not applicable", "undefined"), "not measured")
    verdict = {"stable": "pass", **unknown}.get(status, "fail")
    return Verdict("stability", "stable training", verdict, f"{status}: {reason}", status)
