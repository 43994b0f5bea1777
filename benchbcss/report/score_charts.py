"""Charts of a table's scores: intervals with ties, classes, the any-tissue trap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchbcss.board import cells
from benchbcss.board.model import Row, Table
from benchbcss.report import charts
from benchbcss.report.charts import ACCENT, INK, ROW, SECOND, SOFT, WIDTH, Figure
from benchbcss.results.schema import Bounds
from benchbcss.tracks.base import number


def labels(rows: Sequence[Row]) -> list[str]:
    return [row.name for row in rows]


def mean(table: Table) -> Figure:
    """Mean Dice with its interval and the rank, shared where models cannot be told apart."""
    rows = [
        _dot(row, row.scores.headline.per_roi.mean, row.scores.headline.per_roi.mean_interval)
        for row in table.rows
    ]
    best = [row.name for row in table.rows if _first(row)]
    words = ["; ".join(f"{r['model']} {r['words']}" for r in rows)]
    if len(best) > 1:
        words.append(f"{' and '.join(best)} cannot be told apart.")
    chart = _dots(rows, "mean Dice", ranks=True)
    return charts.figure(chart, "Mean Dice with 95 % intervals", " ".join(words))


def by_class(table: Table) -> list[Figure]:
    """The same of each class, in the order of the mean's chart."""
    figures = []
    for name in cells.classes_of(table):
        rows = []
        for row in table.rows:
            part = row.scores.headline.per_roi
            rows.append(_dot(row, part.dice.get(name), part.intervals.get(name)))
        rois = {row.scores.rois_with_class.get(name) for row in table.rows} - {None}
        where = ""
        if len(rois) == 1:
            count = rois.pop()
            where = f", in {count} ROI" + "s" * (count != 1)
        text = "; ".join(f"{r['model']} {r['words']}" for r in rows)
        chart = _dots(rows, "Dice", ranks=False)
        figures.append(charts.figure(chart, f"{name}{where}", f"Dice of {name}: {text}"))
    return figures


def _first(row: Row) -> bool:
    """Whether it holds rank 1, alone or with others."""
    return row.rank is not None and (row.tied or (row.rank, row.rank))[0] == 1


def _dot(row: Row, value: float | None, bounds: Bounds | None) -> dict[str, Any]:
    low, high = bounds or (value, value)
    kind = "baseline" if row.floor else ("first" if _first(row) else "model")
    words = f"{number(value)} {cells.interval(bounds, value)}".rstrip()
    rank = f"#{row.rank_text}" if row.rank_text else ""
    return {
        "model": row.name,
        "value": value,
        "low": low,
        "high": high,
        "kind": kind,
        "words": words,
        "rank": rank,
        "fill": {"first": ACCENT, "model": charts.PAPER, "baseline": SOFT}[kind],
        "edge": SOFT if row.floor else ACCENT,
    }


def _dots(rows: list[dict[str, Any]], title: str, *, ranks: bool) -> Any:
    """Filled: rank 1, alone or shared; hollow: other models; grey squares: floors."""
    import altair as alt

    names = [row["model"] for row in rows]
    known = [row for row in rows if row["value"] is not None]
    missing = [{**row, "none": "no ground truth"} for row in rows if row["value"] is None]
    base = alt.Chart(charts.data(known)).encode(y=charts.models_axis(names))
    colour = alt.Color("edge:N", scale=None)
    whiskers = base.mark_rule(strokeWidth=2).encode(
        x=charts.share_axis("low", title), x2="high:Q", color=colour
    )
    points = base.mark_point(size=70, filled=False, strokeWidth=2, opacity=1).encode(
        x="value:Q",
        fill=alt.Fill("fill:N", scale=None),
        stroke=alt.Stroke("edge:N", scale=None),
        shape=alt.Shape(
            "kind:N",
            scale=alt.Scale(
                domain=["first", "model", "baseline"], range=["circle", "circle", "square"]
            ),
            legend=None,
        ),
    )
    layers = [whiskers, points]
    if missing:
        empty = alt.Chart(charts.data(missing)).encode(y=charts.models_axis(names))
        layers.append(empty.mark_text(align="left", color=SOFT, x=4).encode(text="none:N"))
    if ranks:
        edge = base.mark_text(align="left", color=INK).encode(x=alt.value(WIDTH + 6), text="rank:N")
        layers.append(edge)
    return alt.layer(*layers).properties(width=WIDTH, height=ROW * max(1, len(names)))


def heat_map(table: Table) -> Figure:
    """Dice of every model and class."""
    classes = cells.classes_of(table)
    rows = []
    for row in table.rows:
        for name in classes:
            value = row.scores.headline.per_roi.dice.get(name)
            rows.append(
                {
                    "line": row.name,
                    "column": name,
                    "text": number(value, 2),
                    "fill": charts.heat(value),
                    "ink": charts.on_heat(value),
                }
            )
    text = "; ".join(
        f"{row.name}: "
        + ", ".join(
            f"{name} {number(row.scores.headline.per_roi.dice.get(name), 2)}" for name in classes
        )
        for row in table.rows
    )
    chart = charts.cells(rows, classes, labels(table.rows))
    return charts.figure(chart, "Dice per model and class", text, wide=True)


def tissue(table: Table) -> Figure | None:
    """Any-tissue Dice, which misleads, beside the mean per-class Dice of the same model."""
    import altair as alt

    rows = [
        {
            "model": row.name,
            "mean": row.scores.headline.per_roi.mean,
            "tissue": part.dice,
            "painter": part.painter,
            "skill": number(part.skill, 2),
        }
        for row in table.rows
        if (part := row.scores.tissue) is not None and part.dice is not None
    ]
    if not rows:
        return None
    names = [str(row["model"]) for row in rows]
    base = alt.Chart(charts.data(rows)).encode(y=charts.models_axis(names))
    x = charts.share_axis("tissue", "Dice")
    layers = [
        base.mark_rule(color=charts.LINE, strokeWidth=3).encode(x=x, x2="mean:Q"),
        base.mark_tick(color=SOFT, thickness=2, size=14).encode(x="painter:Q"),
        base.mark_point(size=70, shape="diamond", color=SECOND, strokeWidth=2, opacity=1).encode(
            x="tissue:Q"
        ),
        base.mark_point(size=70, filled=True, color=ACCENT, opacity=1).encode(x="mean:Q"),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=ROW * len(names))
    text = "; ".join(
        f"{row['model']}: any tissue {number(row['tissue'], 2)}, per class "  # type: ignore[arg-type]
        f"{number(row['mean'], 2)}, skill {row['skill']}"  # type: ignore[arg-type]
        for row in rows
    )
    return charts.figure(chart, "Any-tissue Dice against mean per-class Dice", text)
