"""How training went: validation and loss over epochs, with start, best and collapse marked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchbcss.board.model import Row
from benchbcss.io import check, parse_json, read_bytes
from benchbcss.report import charts
from benchbcss.report.charts import ACCENT, BAD, INK, SECOND, SOFT, WIDTH, Figure
from benchbcss.tracks.base import number

LOG = "epochs.jsonl"
#: the epoch at which a record's reason says that validation fell
_FELL = re.compile(r"validation fell to [\d.]+ after epoch (\d+)")
#: or from which on it stayed low
_SANK = re.compile(r"validations since the best, [\d.]+ after epoch (\d+),")


@dataclass(frozen=True)
class Curve:
    """By completed epochs: ``validation`` (mean per-class Dice), ``tissue`` (any-tissue Dice) and
    ``loss``. ``start`` is the validation before the first step, ``best`` the epoch whose weights
    were scored, ``collapse`` the epoch of a fall, ``floor`` (value, name) what learning nothing
    scores."""

    validation: Sequence[tuple[int, float]]
    tissue: Sequence[tuple[int, float]] = ()
    loss: Sequence[tuple[int, float]] = ()
    start: float | None = None
    best: int | None = None
    collapse: int | None = None
    floor: tuple[float, str] | None = None


def curve_of(row: Row) -> Curve | str:
    """The curve, or in a sentence why there is none."""
    result = row.result
    if result.training.own_fit or result.floor:
        return f"{row.name} fits itself: there is no training curve."
    if result.evaluated:
        return f"{row.name} was scored with the weights it was given: nothing was trained here."
    stability = result.stability
    evidence = stability.evidence if stability else {}
    records = _records(row)
    validation = _series(records, "val_mean_dice")
    if not validation:
        validation = [
            (int(epoch), float(value))
            for epoch, value in zip(
                evidence.get("epochs") or (), evidence.get("values") or (), strict=False
            )
            if value is not None
        ]
    if not validation:
        if not result.training.trained:
            return f"{row.name} was not trained by the harness's loop: there is no training curve."
        return f"{row.name}: no validation is recorded, in {LOG} or in the record."
    floor = evidence.get("floor")
    return Curve(
        validation,
        _series(records, "val_any_tissue_dice"),
        _losses(records),
        evidence.get("start"),
        _best(row, records, validation),
        _collapse(stability.reason if stability else "", validation),
        (float(floor["value"]), str(floor["name"])) if floor else None,
    )


def _records(row: Row) -> list[dict[str, Any]]:
    """The log's epochs; a torn line ends it, and an altered log counts for nothing."""
    try:
        if check(row.run / LOG) == "altered":
            return []
        text = read_bytes(row.run / LOG).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    records = []
    for line in text.splitlines():
        try:
            record = parse_json(line)
        except ValueError:
            break
        if isinstance(record, dict) and isinstance(record.get("epoch"), int):
            records.append(record)
    return records


def _series(records: Sequence[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    return [
        (record["epoch"] + 1, float(record[key]))
        for record in records
        if isinstance(record.get(key), (int, float)) and math.isfinite(record[key])
    ]


def _losses(records: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    points = []
    for record in records:
        loss = record.get("loss")
        value = loss.get("loss") if isinstance(loss, dict) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            points.append((record["epoch"] + 1, float(value)))
    return points


def _best(
    row: Row, records: Sequence[dict[str, Any]], validation: Sequence[tuple[int, float]]
) -> int:
    """The epoch of the weights that were scored; by the highest validation where that is not
    recorded."""
    step = (row.result.training.model_extra or {}).get("best_step")
    for record in records:
        if step is not None and record.get("step") == step:
            return int(record["epoch"]) + 1
    return max(validation, key=lambda pair: pair[1])[0]


def _collapse(reason: str, validation: Sequence[tuple[int, float]]) -> int | None:
    """Of a collapsed training, as its record's reason says it."""
    if fell := _FELL.search(reason):
        return int(fell[1])
    if sank := _SANK.search(reason):
        return next((epoch for epoch, _ in validation if epoch > int(sank[1])), None)
    return None


def figure(row: Row, curve: Curve) -> Figure:
    """Validation above, loss below, over the same epochs."""
    import altair as alt

    last = max(epoch for series in (curve.validation, curve.loss) for epoch, _ in series)
    epochs = alt.Scale(domain=[0, last], nice=False)
    upper = _validation(curve, epochs)
    chart = upper
    if curve.loss:
        lower = (
            alt.Chart(charts.data({"epoch": e, "value": v} for e, v in curve.loss))
            .mark_line(color=SOFT, strokeWidth=1.5, point=len(curve.loss) == 1)
            .encode(
                x=_epochs(epochs, "epochs"),
                y=alt.Y(
                    "value:Q",
                    axis=alt.Axis(title="loss", tickCount=3),
                    scale=alt.Scale(zero=False),
                ),
            )
            .properties(width=WIDTH + 50, height=50)
        )
        chart = alt.vconcat(upper, lower, spacing=4)
    return charts.figure(chart, row.name, _words(row, curve))


def _epochs(scale: Any, title: str | None) -> Any:
    import altair as alt

    axis = alt.Axis(title=title, tickCount=4, tickMinStep=1, format="d", labels=bool(title))
    return alt.X("epoch:Q", scale=scale, axis=axis)


def _validation(curve: Curve, scale: Any) -> Any:
    import altair as alt

    x = _epochs(scale, None if curve.loss else "epochs")
    y = alt.Y(
        "value:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(title="validation Dice", **charts.SHARES),
    )

    def chart(points: Sequence[tuple[int, float]]) -> Any:
        rows = ({"epoch": epoch, "value": value} for epoch, value in points)
        return alt.Chart(charts.data(rows)).encode(x=x, y=y)

    layers = []
    if curve.floor is not None:
        rule = chart([(0, curve.floor[0])]).mark_rule(color=SOFT, strokeDash=[2, 3])
        layers.append(rule.encode(x=alt.value(0), x2=alt.value(WIDTH + 50)))
    if curve.tissue:
        layers.append(
            chart(curve.tissue).mark_line(
                color=SECOND, strokeDash=[5, 3], strokeWidth=1.5, point=_dots(curve.tissue, SECOND)
            )
        )
    line = [*([(0, curve.start)] if curve.start is not None else []), *curve.validation]
    layers.append(chart(line).mark_line(color=ACCENT, strokeWidth=2, point=_dots(line, ACCENT)))
    values = dict(curve.validation)
    marks = [
        ("start", 0 if curve.start is not None else None, curve.start, "triangle-right", INK),
        ("best", curve.best, values.get(curve.best or -1), "diamond", ACCENT),
        ("collapse", curve.collapse, values.get(curve.collapse or -1), "cross", BAD),
    ]
    for name, epoch, value, shape, colour in marks:
        if epoch is None or value is None:
            continue
        point = chart([(epoch, value)])
        layers.append(point.mark_point(shape=shape, filled=True, size=90, color=colour, opacity=1))
        late = epoch > 0.75 * scale.domain[1]
        layers.append(
            point.mark_text(
                text=name,
                color=colour,
                dx=-7 if late else 7,
                dy=-10,
                align="right" if late else "left",
            )
        )
    return alt.layer(*layers).properties(width=WIDTH + 50, height=120)


def _dots(points: Sequence[Any], colour: str) -> Any:
    """Single values would make no line."""
    return {"color": colour, "filled": True, "size": 20} if len(points) < 12 else False


def _words(row: Row, curve: Curve) -> str:
    values = dict(curve.validation)
    used = row.result.training.validation
    part = used is not None and len(used.rois) < used.of
    on = f" on {len(used.rois)} of {used.of} ROIs" if used and part else ""
    words = [f"{len(curve.validation)} validations{on}"]
    if curve.start is not None:
        words.append(f"start {number(curve.start)}")
    if curve.best is not None:
        words.append(f"best {number(values.get(curve.best))} after epoch {curve.best}")
        if part:
            words[-1] += f", {number(row.result.training.best_mean_dice)} on all ROIs"
    if curve.collapse is not None:
        words.append(f"collapse at epoch {curve.collapse}")
    if curve.floor is not None:
        words.append(f"{curve.floor[1]} {number(curve.floor[0])}")
    return f"{row.name}: {', '.join(words)}."
