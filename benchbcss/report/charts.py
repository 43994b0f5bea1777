"""Charts as SVG that follows the page's theme: colours are the page's CSS variables.

A chart is an altair specification, turned into SVG by vl-convert, without a browser or a network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from benchbcss.board.exporters.layout import columns_of, shorten_apart
from benchbcss.report import ids

#: of the plotting area, in pixels: with its labels a chart fits a screen 360 px wide
WIDTH = 190
ROW = 20  # height of a model's line
LABEL = 24  # columns of the longest label before it is cut
CHARACTER = 6.8  # pixels of a column, at the size of labels
#: CSS variables of the page
INK, SOFT, LINE, PAPER = "var(--text)", "var(--soft)", "var(--line)", "var(--page)"
ACCENT, SECOND, GOOD, BAD = "var(--accent)", "var(--second)", "var(--good)", "var(--bad)"
#: ticks of an axis from 0 to 1; Vega would leave some out without their number
SHARES: dict[str, Any] = {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "tickCount": 6, "format": ".1f"}
#: steps of the page's sequential and diverging ramps
HEAT, DIVERGING = 10, 5


@dataclass(frozen=True)
class Figure:
    """A chart as markup, its ``title`` and what it shows in words (``text``). One that is ``wide``
    grows with what it shows, and is scrolled rather than reduced."""

    title: str
    text: str
    svg: Markup
    wide: bool = False


def figure(chart: Any, title: str, text: str, *, wide: bool = False) -> Figure:
    """Draw an altair ``chart``; ``text`` says what it shows to those who do not see it."""
    import vl_convert

    spec = _themed(chart).to_json(indent=None)
    svg = vl_convert.vegalite_to_svg(spec)
    return Figure(title, text, _accessible(svg, title, text), wide)


def _themed(chart: Any) -> Any:
    return (
        chart.configure(
            background="transparent",
            aria=False,  # the picture has one name and one description
            font="system-ui",
            padding=2,
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=SOFT,
            titleFontWeight="normal",
            labelFontSize=11,
            titleFontSize=11,
            labelLimit=0,  # Vega cuts names to the same letters, and letters beyond its own in half
            gridColor=LINE,
            gridOpacity=0.6,
            domainColor=LINE,
            tickColor=LINE,
        )
        .configure_legend(labelColor=INK, titleColor=SOFT, labelFontSize=11, orient="top")
        .configure_text(fontSize=11)
    )


def _accessible(svg: str, title: str, text: str) -> Markup:
    """One image with a name and a description for screen readers."""
    name = ids.new("chart")
    about = f"{name}-text"
    svg = _TAG.sub(lambda tag: _spare(tag[0], name), svg)  # never what stands between the tags
    svg = svg.replace(f'<path d="{_NOWHERE}"/>', "")
    _, _, drawing = svg.partition(">")
    size = re.search(r' width="(\d+)" height="(\d+)" viewBox="[^"]*"', svg)
    assert size is not None
    return Markup(
        f'<svg role="img" aria-labelledby="{name}" aria-describedby="{about}"{size[0]}>'
        f'<title id="{name}">{escape(title)}</title><desc id="{about}">{escape(text)}</desc>'
        f"{drawing}"
    )


_TAG = re.compile(r"<[^>]*>")
_NOWHERE = "M0,0h0v0h0Z"
#: what says nothing to who looks at one picture, or what is usual
_IDLE = re.compile(
    r' (?:class|font-family|role|aria-\w+|pointer-events)="[^"]*"| opacity="1"| display="none"'
)


def _spare(tag: str, name: str) -> str:
    """Without idle attributes, in hundredths of a pixel; ids of clip paths are the picture's own
    (``name``), since all pictures of a page share one space of names."""
    if 'display="none"' in tag:
        return f'<path d="{_NOWHERE}"/>'
    tag = re.sub(r'\b(id="|url\(#)(clip\d+)', rf"\g<1>{name}-\g<2>", _IDLE.sub("", tag))
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)


def data(rows: Iterable[Mapping[str, Any]]) -> Any:
    import altair as alt

    return alt.Data(values=[dict(row) for row in rows])


def short(names: Sequence[str]) -> dict[str, str]:
    """Each name as a label: cut where it is long, and still told from the others."""
    return dict(zip(names, shorten_apart(names, LABEL, "…"), strict=True))


def _labelled(names: Sequence[str]) -> dict[str, Any]:
    """What an axis needs for names that are too long for it."""
    cut = {name: label for name, label in short(names).items() if label != name}
    return {"labelExpr": f"{json.dumps(cut)}[datum.value] || datum.value"} if cut else {}


def models_axis(names: Sequence[str]) -> Any:
    """The models, best on top, on the field ``model``."""
    import altair as alt

    # Without ticks: a line from each name to the axis says nothing.
    axis = alt.Axis(title=None, ticks=False, domain=False, labelPadding=9, **_labelled(names))
    return alt.Y("model:N", sort=list(names), axis=axis)


def share_axis(field: str, title: str, domain: Sequence[float] = (0.0, 1.0)) -> Any:
    """A value from 0 to 1."""
    import altair as alt

    return alt.X(
        f"{field}:Q",
        scale=alt.Scale(domain=list(domain), nice=False),
        axis=alt.Axis(title=title, labelOverlap=False, **SHARES),
    )


def heat(value: float | None) -> str:
    """The colour of a share."""
    if value is None:
        return "var(--none)"
    return f"var(--h{min(HEAT, max(0, round(value * HEAT)))})"


def on_heat(value: float | None) -> str:
    """The colour of text upon ``heat``."""
    return SOFT if value is None else f"var(--h{min(HEAT, max(0, round(value * HEAT)))}t)"


def diverging(value: float | None, largest: float) -> str:
    """The colour of a difference of at most ``largest``."""
    if value is None or largest <= 0:
        return "var(--none)"
    step = round(value / largest * DIVERGING)
    side = "p" if step > 0 else "m"
    return f"var(--d{side}{abs(step)})" if step else "var(--none)"


def cells(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], lines: Sequence[str]) -> Any:
    """A table of coloured cells: ``rows`` hold column, line, fill, ink and text."""
    import altair as alt

    longest = max((columns_of(row["text"]) for row in rows), default=0)
    width = max(30, min(56, 216 // max(1, len(columns))), round(CHARACTER * longest) + 6)
    base = alt.Chart(data(rows)).encode(
        x=alt.X(
            "column:N",
            sort=list(columns),
            axis=alt.Axis(
                orient="top",
                title=None,
                labelAngle=-40,
                ticks=False,
                domain=False,
                **_labelled(columns),
            ),
        ),
        y=alt.Y(
            "line:N",
            sort=list(lines),
            axis=alt.Axis(
                title=None, ticks=False, domain=False, labelPadding=6, **_labelled(lines)
            ),
        ),
    )
    boxes = base.mark_rect(stroke=PAPER, strokeWidth=2).encode(
        color=alt.Color("fill:N", scale=None)
    )
    words = base.mark_text(fontSize=11).encode(text="text:N", color=alt.Color("ink:N", scale=None))
    return (boxes + words).properties(width=width * len(columns), height=24 * len(lines))
