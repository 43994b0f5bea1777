"""A board for programs: JSON, and CSV with one line per row and class."""

from __future__ import annotations

import csv as csv_module
import json as json_module
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from benchbcss.board.model import Board, Row, Table
from benchbcss.names import csv_cell
from benchbcss.results.schema import Estimand

HEADER = (
    "suite",
    "track",
    "rank",
    "backend",
    "seed",
    "view",
    "weights",
    "prompting",
    "estimand",
    "class",
    "dice",
    "low",
    "high",
    "status",
)


def json(board: Board, stream: TextIO) -> None:
    """Pure JSON: tables, rows that do not compare, failures, reported."""
    content = {
        "tables": [
            {
                "suite": part.suite,
                "track": part.track.name,
                "rows": [plain(row) for row in part.rows],
                "not_comparable": [{**plain(row), "why": why} for row, why in part.not_comparable],
            }
            for part in board.tables
        ],
        "failures": [vars(failure) for failure in board.failures],
        "not_measured": [vars(missing) for missing in board.not_measured],
        "unreadable": board.unreadable,
        "reported": board.reported,
    }
    # Without indent the C encoder is used, several times faster for a thousand rows.
    stream.write(json_module.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")


def plain(row: Row) -> dict[str, Any]:
    """A row as plain data: which run, its scores and its verdicts."""
    result = row.result
    return {
        "backend": row.backend,
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
        "training": result.training.model_dump(),
        "cost": result.cost.model_dump(),
        **row.scores.model_dump(),
    }


def csv(board: Board, stream: TextIO) -> None:
    """One line per row and class: tidy, for a spreadsheet or pandas."""
    writer = csv_module.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for part in board.tables:
        pairs = [(row, _status(row)) for row in part.rows]
        pairs += [(row, f"not comparable: {why}") for row, why in part.not_comparable]
        for row, status in pairs:
            writer.writerows(map(csv_cell, line) for line in _lines(part, row, status))
    for failure in board.failures:
        cells: dict[str, Any] = dict.fromkeys(HEADER, "")
        cells |= {"suite": failure.suite, "backend": failure.backend}
        cells["status"] = f"failed: {failure.reason}"
        writer.writerow(map(csv_cell, cells.values()))


def _lines(part: Table, row: Row, status: str) -> Iterator[list[Any]]:
    scores, rank = row.scores, row.rank_text
    head = [part.suite, part.track.name, rank, row.backend, row.seed, scores.view]
    head.append(row.result.weights.provenance)
    parts = [(scores.prompting.key if scores.prompting else "", scores.headline)]
    parts += [(other.prompting.key, other.headline) for other in scores.others]
    for key, headline in parts:
        for name, estimand in headline.estimands().items():
            for cells in _values(estimand, scores.classes):
                yield [*head, key, name, *cells, status]


def _values(estimand: Estimand, classes: Sequence[str]) -> Iterator[list[Any]]:
    """(class, Dice, low, high), the mean first; blank where undefined."""
    blank = ("", "")
    yield ["mean", _blank(estimand.mean), *(estimand.mean_interval or blank)]
    for name in classes:
        bounds = estimand.intervals.get(name) or blank
        yield [name, _blank(estimand.dice.get(name)), *bounds]


def _status(row: Row) -> str:
    if row.floor:
        return "floor"
    return "ranked" if row.rank else f"never ranked: {row.not_ranked}"


def _blank(value: float | None) -> float | str:
    return "" if value is None else value
