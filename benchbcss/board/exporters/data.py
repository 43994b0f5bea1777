"""A board for programs: JSON, and CSV with one line per row and class."""

from __future__ import annotations

import csv as csv_module
import json as json_module
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from pydantic import TypeAdapter

from benchbcss.board import cells, summary
from benchbcss.board.model import Board, Row, Table
from benchbcss.names import csv_cell
from benchbcss.results import judge
from benchbcss.results.schema import Estimand, TrackResult

#: columns before those of the suites' criteria and of registered metrics
HEADER = (
    "suite",
    "track",
    "rank",
    "rank_from",
    "rank_to",
    "model",
    "backend",
    "seed",
    "variant",
    "view",
    "weights",
    "preset",
    "split",
    "scored",
    "prompting",
    "estimand",
    "class",
    "dice",
    "low",
    "high",
    "no_interval",
    "rois",
    "rois_with_class",
    "effective_rois",
    "status",
    "run",
)


def json(board: Board, stream: TextIO) -> None:
    """Pure JSON: tables, rows that do not compare, runs without a result, reported numbers."""
    content = {
        "tables": [
            {
                "suite": part.suite,
                "track": part.track.name,
                "summary": summary.sentence(part),
                "rows": [plain(row) for row in part.rows],
                "not_comparable": [{**plain(row), "why": why} for row, why in part.not_comparable],
            }
            for part in board.tables
        ],
        "failures": [vars(failure) for failure in board.failures],
        "unfinished": [vars(run) for run in board.unfinished],
        "not_measured": [vars(missing) for missing in board.not_measured],
        "unreadable": board.unreadable,
        "reported": board.reported,
    }
    # Models are encoded as they are: for a thousand rows, making plain objects first takes longer.
    adapter = TypeAdapter(Any)
    try:
        text = adapter.dump_json(content).decode()
    except ValueError:  # a folder whose name is no UTF-8
        text = json_module.dumps(adapter.dump_python(content, mode="json"))
    stream.write(text + "\n")


def plain(row: Row) -> dict[str, Any]:
    """A row for JSON: which run, its scores and its verdicts."""
    result = row.result
    return {
        "backend": row.backend,
        "model": row.name,
        "name": result.name,
        "suite": result.suite.name,
        "track": row.track,
        "seed": row.seed,
        "run": str(row.run),
        "variant": row.variant,
        "rank": row.rank,
        "rank_text": row.rank_text,
        "not_ranked": row.not_ranked,
        "floor": row.floor,
        "phantom": result.data.phantom,
        "evaluated": result.evaluated,
        "created": result.created,
        "weights": result.weights.provenance,
        "flaws": result.suite.flaws,
        "key": row.key,
        "criteria": [verdict.plain() for verdict in row.verdicts],
        "training": result.training,
        "cost": result.cost,
        "registered": {
            name: cells.metric_mean(row.scores, name, "per_roi")
            for name in cells.strangers([row.scores])
        },
        **dict(row.scores),
    }


def csv(board: Board, stream: TextIO) -> None:
    """``records``, for a spreadsheet or pandas."""
    columns, lines = records(board)
    writer = csv_module.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for line in lines:
        values = ((name, "" if value is None else value) for name, value in line.items())
        writer.writerow({name: csv_cell(value) for name, value in values})


def records(board: Board) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns, and one line per row, prompting, estimand and class: tidy. Each line has the verdict
    and reason of every criterion of its run, and the values of registered metrics for its class.
    Runs without a result come last, without a class."""
    tables = board.tables
    rows = [row for part in tables for row, _ in _with_status(part)]
    # Those that stand apart may be judged by criteria that no comparable row has.
    criteria = dict.fromkeys(v.label for row in rows if not row.floor for v in row.verdicts)
    metrics = cells.strangers([row.scores for row in rows])
    verdicts = [name for label in criteria for name in (f"verdict: {label}", f"reason: {label}")]
    lines: list[dict[str, Any]] = []
    for part in tables:
        for row, status in _with_status(part):
            lines += [{**line, "status": status} for line in _lines(part, row, list(metrics))]
    for failure in board.failures:
        lines.append({**_run(failure), "status": f"failed: {failure.line}"})
    for run in board.unfinished:
        lines.append({**_run(run), "status": f"{run.state}: {run.detail}"})
    for missing in board.not_measured:
        reason = cells.one_line(missing.reason)
        about = {**_run(missing), "track": missing.track}
        lines.append({**about, "status": f"not measured: {reason}"})
    return [*HEADER, *verdicts, *(f"metric: {name}" for name in metrics)], lines


#: columns of ``overview`` before those of classes and criteria
OVERVIEW = [
    "suite",
    "track",
    "rank",
    "rank_from",
    "rank_to",
    "model",
    "mean_dice",
    "low",
    "high",
    "no_interval",
    "rois",
    "status",
    "backend",
    "seed",
    "name",
    "variant",
    "floor",
    "phantom",
    "prompting",
    "weights",
    "preset",
    "split",
    "scored",
    "view",
    "run",
]


def overview(board: Board) -> Iterator[dict[str, Any]]:
    """One line per row of the board, by the ranked estimand: ``OVERVIEW``, the Dice of each class
    in the mean (``dice.CLASS``), verdicts and registered metrics."""
    for part in board.tables:
        for row, status in _with_status(part):
            scores, result = row.scores, row.result
            headline = scores.headline.per_roi
            low, high = headline.mean_interval or (None, None)
            head = _head(part, row)
            line = {
                **head,
                "mean_dice": headline.mean,
                "low": low,
                "high": high,
                "no_interval": headline.mean_reason,
                "status": status,
                "name": result.name,
                "floor": row.floor,
                "phantom": result.data.phantom,
                "prompting": scores.prompting.key if scores.prompting else "",
            }
            yield {
                **{name: line[name] for name in OVERVIEW},
                **{f"dice.{name}": headline.dice.get(name) for name in scores.classes},
                **{name: text for name, text in head.items() if name.startswith("verdict: ")},
                **{
                    f"metric: {name}": cells.metric_mean(scores, name, "per_roi")
                    for name in cells.strangers([scores])
                },
            }


def _with_status(part: Table) -> list[tuple[Row, str]]:
    """Every row of a table, those that stand apart last, with why each is ranked or not."""
    apart = [(row, f"not comparable: {why}") for row, why in part.not_comparable]
    return [*((row, _status(row)) for row in part.rows), *apart]


def _run(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in ("suite", "backend", "run")}


def _head(part: Table, row: Row) -> dict[str, Any]:
    """What every line of a row begins with."""
    scores, result = row.scores, row.result
    first, last = (row.tied or (row.rank, row.rank)) if row.rank else (None, None)
    head = {
        "suite": part.suite,
        "track": part.track.name,
        "rank": row.rank,
        "rank_from": first,
        "rank_to": last,
        "model": row.name,
        "backend": row.backend,
        "seed": row.seed,
        "variant": row.variant,
        "view": scores.view,
        "weights": result.weights.provenance,
        "preset": result.preset,
        "split": result.split.name,
        "scored": result.split.scored,
        "rois": scores.rois,
        "run": str(row.run),
    }
    if not row.floor:
        for verdict in row.verdicts:
            head[f"verdict: {verdict.label}"] = verdict.status
            head[f"reason: {verdict.label}"] = verdict.reason
    return head


def _lines(part: Table, row: Row, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    scores, head = row.scores, _head(part, row)
    for name, estimand in judge.estimands(scores.headline).items():
        key = scores.prompting.key if scores.prompting else ""
        for line in _values(estimand, scores):
            values = {
                f"metric: {metric}": _metric(scores, metric, name, line["class"])
                for metric in metrics
            }
            yield {**head, "prompting": key, "estimand": name, **line, **values}
    for other in scores.others:
        for name, estimand in judge.estimands(other.headline).items():
            for line in _values(estimand, scores):
                yield {**head, "prompting": other.prompting.key, "estimand": name, **line}


def _values(estimand: Estimand, scores: TrackResult) -> Iterator[dict[str, Any]]:
    """Of the mean, then of each class."""
    low, high = estimand.mean_interval or (None, None)
    yield {
        "class": "mean",
        "dice": estimand.mean,
        "low": low,
        "high": high,
        "no_interval": estimand.mean_reason,
        "effective_rois": estimand.mean_effective_rois,
    }
    for name in scores.classes:
        low, high = estimand.intervals.get(name) or (None, None)
        yield {
            "class": name,
            "dice": estimand.dice.get(name),
            "low": low,
            "high": high,
            "no_interval": estimand.reasons.get(name),
            "rois_with_class": scores.rois_with_class.get(name),
            "effective_rois": estimand.effective_rois.get(name),
        }


def _metric(scores: TrackResult, metric: str, estimand: str, name: str) -> float | None:
    if name == "mean":
        return cells.metric_mean(scores, metric, estimand)
    return scores.per_class.get(estimand, {}).get(metric, {}).get(name)


def _status(row: Row) -> str:
    if row.floor:
        return "floor"
    return "ranked" if row.rank else f"never ranked: {row.not_ranked}"
