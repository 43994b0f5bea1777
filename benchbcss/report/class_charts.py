"""Charts of what lies behind the scores: confusions, objects, ROIs, institutes, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchbcss.board import cells
from benchbcss.board.exporters.comparison import plus
from benchbcss.board.model import Row, Table
from benchbcss.report import charts
from benchbcss.report.charts import ACCENT, INK, ROW, WIDTH, Figure
from benchbcss.report.rois import RoiScores
from benchbcss.report.score_charts import labels
from benchbcss.results.schema import Distribution
from benchbcss.scoring.compare import Pair
from benchbcss.tracks.base import number


def confusion(row: Row) -> Figure | None:
    """Shares of each true class (a line) by what it was called (a column)."""
    part = row.scores.confusion
    if part is None:
        return None
    called = [*part.names, *["(none)"] * (len(part.by_truth[0]) - len(part.names))]
    lines = []
    for true, shares in zip(part.names, part.by_truth, strict=True):
        for name, share in zip(called, shares, strict=True):
            lines.append(_cell(true, name, share, "" if share is None else f"{100 * share:.0f}"))
    chart = charts.cells(lines, called, part.names)
    text = "Per cent of the pixels of each true class. " + (
        "; ".join(part.most_confused) or "No confusions."
    )
    return charts.figure(chart, row.name, text, wide=True)


def _cell(line: str, column: str, value: float | None, text: str) -> dict[str, Any]:
    fill, ink = charts.heat(value), charts.on_heat(value)
    return {"line": line, "column": column, "text": text, "fill": fill, "ink": ink}


def objects(table: Table) -> list[Figure]:
    """Of each class: the share of true objects that were found, by their size."""
    rows = [row for row in table.rows if row.scores.objects]
    figures = []
    for name in cells.classes_of(table) if rows else ():
        lines, columns, words = [], [], []
        for row in rows:
            part = (row.scores.objects or {}).get(name)
            for size, one in part.recall_by_size_um2.items() if part else ():
                column = f"{size} (n={one.truth})"
                columns.append(column)
                lines.append(_cell(row.name, column, one.recall, number(one.recall, 2)))
                if one.recall is not None:
                    words.append(f"{row.name}, {size}: {number(one.recall, 2)}")
        if words:
            chart = charts.cells(lines, list(dict.fromkeys(columns)), labels(rows))
            text = f"Recall of {name} by size in square micrometres. {'; '.join(words)}"
            figures.append(charts.figure(chart, name, text, wide=True))
    return figures


def distributions(table: Table, scores: Sequence[RoiScores]) -> list[Figure]:
    """Of the mean of an ROI and of each class: every ROI as a dot, quartiles as a box."""
    figures = []
    for name in (None, *cells.classes_of(table)):
        boxes, dots, words = [], [], []
        for row, rois in zip(table.rows, scores, strict=True):
            spread = row.scores.spread
            part = None if spread is None else _distribution(row, name)
            if part is not None and part.quartiles is not None:
                low, middle, high = part.quartiles
                boxes.append({"model": row.name, "low": low, "middle": middle, "high": high})
                words.append(f"{row.name}: median {number(middle, 2)} of {part.rois} ROIs")
            dots += [{"model": row.name, "value": value} for value in _values(rois, name)]
        if boxes:
            title = name or "mean of an ROI"
            text = f"Dice over ROIs, {title}. {'; '.join(words)}"
            chart = _boxes(boxes, dots, labels(table.rows))
            figures.append(charts.figure(chart, title, text))
    return figures


def _distribution(row: Row, name: str | None) -> Distribution | None:
    spread = row.scores.spread
    if spread is None:
        return None
    return spread.roi_mean if name is None else spread.classes.get(name)


def _values(rois: RoiScores, name: str | None) -> list[float]:
    if rois.dice is None or rois.means is None:
        return []
    column = rois.means if name is None else rois.dice[:, list(rois.classes).index(name)]
    return [round(float(value), 3) for value in column if value == value]


def _boxes(boxes: list[dict[str, Any]], dots: list[dict[str, Any]], names: Sequence[str]) -> Any:
    import altair as alt

    base = alt.Chart(charts.data(boxes)).encode(y=charts.models_axis(names))
    layers = [
        base.mark_bar(height=12, color="var(--box)").encode(
            x=charts.share_axis("low", "Dice"), x2="high:Q"
        ),
        base.mark_tick(color=INK, thickness=2, size=12).encode(x="middle:Q"),
    ]
    if dots:
        points = alt.Chart(charts.data(dots)).mark_point(
            filled=True, size=14, color=ACCENT, opacity=0.55
        )
        layers.insert(1, points.encode(y=charts.models_axis(names), x="value:Q"))
    return alt.layer(*layers).properties(width=WIDTH, height=ROW * max(1, len(names)))


def institutes(table: Table) -> Figure | None:
    """Mean Dice of an institute's ROIs, a column per model."""
    rows = [row for row in table.rows if row.scores.spread and row.scores.spread.institutes]
    counts: dict[str, int] = {}
    for row in rows:
        for site, part in _sites(row).items():
            counts[site] = part.rois
    if len(counts) < 2:
        return None
    sites = sorted(counts, key=lambda site: (-counts[site], site))
    lines = []
    for row in rows:
        for site in sites:
            part = _sites(row).get(site)
            value = None if part is None else part.mean_dice
            name = f"{site} (n={counts[site]})"
            lines.append(_cell(name, row.name, value, number(value, 2)))
    names = [f"{site} (n={counts[site]})" for site in sites]
    text = "; ".join(
        f"{row.name}: "
        + ", ".join(f"{site} {number(part.mean_dice, 2)}" for site, part in _sites(row).items())
        for row in rows
    )
    chart = charts.cells(lines, labels(rows), names)
    return charts.figure(chart, "Mean Dice by institute", text, wide=True)


def _sites(row: Row) -> Mapping[str, Any]:
    return row.scores.spread.institutes if row.scores.spread else {}


def differences(standings: Sequence[str], pairs: Sequence[Pair]) -> Figure:
    """A model (line) minus another (column); those that hold are marked with a star."""
    largest = max((abs(p.mean.point) for p in pairs if p.mean.point is not None), default=0)
    lines, words = [], []
    for pair in pairs:
        point, holds = pair.mean.point, pair.verdict in (pair.a, pair.b)
        for a, b, sign in ((pair.a, pair.b, 1), (pair.b, pair.a, -1)):
            value = None if point is None else sign * point
            text = "" if value is None else plus(value) + "*" * holds
            fill = charts.diverging(value, largest)
            lines.append({"line": a, "column": b, "text": text, "fill": fill, "ink": INK})
        if holds and point is not None:
            words.append(f"{pair.a} minus {pair.b}: {plus(point)}")
    chart = charts.cells(lines, standings, standings)
    text = "Significant differences of mean Dice: " + ("; ".join(words) or "none") + "."
    return charts.figure(chart, "Difference of mean Dice, line minus column", text, wide=True)
