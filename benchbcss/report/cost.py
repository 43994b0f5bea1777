"""Cost against score: one dot a model, its name beside it where nothing else stands; a name for
which there is no such place is left out, as the table below has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

from benchbcss.board.exporters.layout import columns_of
from benchbcss.board.model import Row, Table
from benchbcss.report import charts
from benchbcss.report.charts import ACCENT, CHARACTER, INK, SOFT, Figure
from benchbcss.tracks.base import number

#: of the plotting area, and how far a name may reach beyond it
WIDTH, HEIGHT, BEYOND = 240, 220, 60
TALLEST = 480  # of many models
_LINE = 13.0  # pixels of a line, at the size of labels


@dataclass
class _Dot:
    """``x``, ``y`` in pixels from the upper left; the name's ``side`` (0: it is left out), and its
    height ``at``."""

    name: str
    label: str
    seconds: float
    value: float
    floor: bool
    x: float = 0.0
    y: float = 0.0
    side: int = 1
    at: float = 0.0

    def box(self) -> tuple[float, float]:
        """Left and right end of the name."""
        long = CHARACTER * columns_of(self.label)
        return (self.x + 8, self.x + 8 + long) if self.side > 0 else (self.x - 8 - long, self.x - 8)


def total_seconds(row: Row) -> float | None:
    """Training, and prediction in this track; None where neither was measured."""
    spent = row.result.cost
    known = [part for part in (spent.train_seconds, spent.inference_seconds.get(row.track)) if part]
    return sum(known) if known else None


def figure(table: Table) -> Figure | None:
    """Mean Dice against seconds of training and prediction, on a logarithmic axis."""
    import altair as alt

    labels = charts.short([row.name for row in table.rows])
    dots = [
        _Dot(row.name, labels[row.name], seconds, row.sort_value(), row.floor)
        for row in table.rows
        if (seconds := total_seconds(row)) and row.sort_value() >= 0
    ]
    if not dots:
        return None
    low, high = _span([dot.seconds for dot in dots])
    height = min(TALLEST, max(HEIGHT, round(_LINE * len(dots))))
    _place(dots, low, high, height)
    x = alt.X(
        "seconds:Q",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(
            title="seconds of training and prediction", values=_ticks(low, high), format=",~f"
        ),
    )
    y = alt.Y(
        "value:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(title="mean Dice", **charts.SHARES),
    )
    rows = [
        {
            "label": dot.label,
            "seconds": dot.seconds,
            "value": dot.value,
            "edge": SOFT if dot.floor else ACCENT,
            "at": 1 - dot.at / height,
            "side": dot.side,
        }
        for dot in dots
    ]
    layers = [
        alt.Chart(charts.data(rows))
        .mark_point(filled=True, size=70, opacity=1)
        .encode(x=x, y=y, color=alt.Color("edge:N", scale=None))
    ]
    sides: tuple[tuple[int, Literal["left", "right"]], ...] = ((1, "left"), (-1, "right"))
    for side, align in sides:
        named = [row for row in rows if row["side"] == side]
        if named:
            text = alt.Chart(charts.data(named)).mark_text(align=align, dx=8 * side, color=INK)
            layers.append(text.encode(x=x, y=alt.Y("at:Q"), text="label:N"))
    words = "; ".join(f"{d.name}: {d.seconds:.0f} s, {number(d.value)}" for d in dots)
    chart = alt.layer(*layers).properties(width=WIDTH, height=height)
    return charts.figure(chart, "Cost against score", words)


def _span(seconds: Sequence[float]) -> tuple[float, float]:
    """Room around the points; a power of ten at least, so that equal costs look equal."""
    low, high = min(seconds), max(seconds)
    middle = (low * high) ** 0.5
    return min(low / 1.3, middle / 3.2), max(high * 1.3, middle * 3.2)


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten; with few of them, also two and five times as much."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1,) if log10(high / low) > 2.5 else (1, 2, 5)
    values = [round(factor * 10.0**power, 9) for power in powers for factor in factors]
    return [value for value in values if low <= value <= high]


def _place(dots: Sequence[_Dot], low: float, high: float, height: float) -> None:
    """Set where each dot is and, one after the other from the top, where its name goes: on the side
    and at the height, near its own, where it covers no dot and no other name."""
    for dot in dots:
        dot.x = WIDTH * (log10(dot.seconds) - log10(low)) / (log10(high) - log10(low))
        dot.y = dot.at = height * (1 - dot.value)
    placed: list[_Dot] = []
    for dot in sorted(dots, key=lambda one: one.y):
        shifts = sorted(range(-4, 5), key=abs)  # further away it would seem another's
        choices = [(side, dot.y + shift * _LINE / 2) for shift in shifts for side in (1, -1)]
        for dot.side, dot.at in choices:
            if _free(dot, dots, placed, height):
                placed.append(dot)
                break
        else:
            dot.side = 0


def _free(dot: _Dot, dots: Sequence[_Dot], placed: Sequence[_Dot], height: float) -> bool:
    left, right = dot.box()
    if left < 0 or right > WIDTH + BEYOND or not 0 <= dot.at <= height:
        return False
    for other in dots:
        if other is not dot and left - 5 < other.x < right + 5 and abs(other.y - dot.at) < 10:
            return False
    return all(
        abs(other.at - dot.at) >= _LINE or right < other.box()[0] or left > other.box()[1]
        for other in placed
    )
