"""Leaderboard rows from ``result.json`` files. Reads JSON only: no torch, no pandas, no numpy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbcss.errors import UnknownNameError

#: results compare only when all of these agree, in the order they are named to the user
COMPARABLE = (
    "suite",
    "label_map",
    "split",
    "data",
    "preset",
    "protocol",
    "mpp",
    "prompting",
    "scored",
    "metrics_version",
)


TRAINING = (
    "budget",
    "steps",
    "batch_size",
    "own_fit",
    "monitor",
    "best_validation",
    "best_mean_dice",
)
COST = (
    "device",
    "precision",
    "train_seconds",
    "inference_seconds",
    "peak_host_bytes",
    "peak_gpu_bytes",
    "train_images_per_second",
)


@dataclass
class Row:
    """One track of one finished run."""

    backend: str
    suite: str
    track: str
    seed: int
    run: str
    created: str
    floor: bool
    phantom: bool
    view: str
    weights: str
    classes: list[str]
    headline: dict[str, Any]
    tissue: dict[str, Any] | None
    criteria: list[dict[str, Any]]
    key: dict[str, Any]
    not_ranked: str | None = None
    rank: int | None = None
    evaluated: bool = False  # weights scored as they are, not trained by this harness
    ceiling: dict[str, Any] | None = None  # what a perfect outline of the hinted part would score
    others: list[dict[str, Any]] = field(default_factory=list)  # under other promptings
    regions: dict[str, Any] | None = None  # how CLIP named them
    region_accuracy: dict[str, Any] | None = None
    flaws: list[str] = field(default_factory=list)
    objects: dict[str, Any] | None = None  # per class: recall, precision, F1 of components
    boundary: dict[str, Any] | None = None
    without_border: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)  # budget, steps, what chose the weights
    cost: dict[str, Any] = field(default_factory=dict)
    variant: str = ""  # tells runs of one backend and seed apart, where recipes were overridden

    def sort_value(self) -> float:
        """Mean per-class Dice by the per_roi estimand: both tracks have it."""
        value = self.headline["per_roi"]["mean"]
        return -1.0 if value is None else float(value)


@dataclass
class Table:
    """The comparable rows of one suite and track, best first, and what stands apart."""

    suite: str
    track: str
    rows: list[Row]
    not_comparable: list[tuple[Row, str]] = field(default_factory=list)


@dataclass
class Board:
    """Everything a leaderboard shows."""

    tables: list[Table]
    failures: list[dict[str, str]]
    unreadable: list[str]
    not_measured: list[dict[str, str]] = field(default_factory=list)
    reported: list[dict[str, Any]] = field(default_factory=list)  # published elsewhere
    promptings: bool = False  # asked for the scores under every other prompting as well


def load(workspace: Path, suite: str | None = None, track: str | None = None) -> Board:
    """Read every run under ``workspace/runs``; a torn or foreign file is listed, not fatal."""
    rows: list[Row] = []
    failures: list[dict[str, str]] = []
    unreadable: list[str] = []
    missing: list[dict[str, str]] = []
    for run_dir in sorted((workspace / "runs").glob("*/*/[!.]*")):
        if suite is not None and run_dir.parent.parent.name != suite:
            continue
        path = run_dir / "result.json"
        if not path.is_file():
            failure = _failure(run_dir)
            if failure is not None:
                failures.append(failure)
            continue
        try:
            with open(path, "rb") as handle:
                result = json.load(handle)
            rows.extend(_rows(result, run_dir))
            missing += [
                {"suite": result["suite"]["name"], "backend": result["backend"]}
                | {"run": str(run_dir), "track": name, "reason": reason}
                for name, reason in result.get("not_measured", {}).items()
                if track in (None, name)
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            unreadable.append(f"{path}: {type(error).__name__}: {error}")
    if track is not None:
        rows = [row for row in rows if row.track == track]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.suite, row.track), []).append(row)
    tables = [_table(*key, group) for key, group in sorted(groups.items(), key=_semantic_first)]
    return Board(tables, failures, unreadable, missing)


def of_backends(board: Board, backends: Sequence[str]) -> list[Row]:
    """The comparable rows of ``backends`` (all for none). Raises UnknownNameError for one without a
    result."""
    rows = [row for part in board.tables for row in part.rows]
    known = {row.backend for row in rows}
    for name in backends:
        if name not in known:
            raise UnknownNameError("result of backend", name, known, "Run it first.")
    return [row for row in rows if not backends or row.backend in backends]


def _semantic_first(item: tuple[tuple[str, str], list[Row]]) -> tuple[str, bool]:
    (suite, track), _ = item
    return suite, track != "semantic"


def _rows(result: dict[str, Any], run_dir: Path) -> list[Row]:
    if not isinstance(result, dict) or result.get("schema_version") not in (1, 2):
        raise ValueError("not a result of schema version 1 or 2")
    rows = []
    flaws = result["suite"].get("flaws", [])
    for track, section in result["tracks"].items():
        rows.append(
            Row(
                backend=result["backend"],
                suite=result["suite"]["name"],
                track=track,
                seed=result["seed"],
                run=str(run_dir),
                created=result["created"],
                floor=result["floor"],
                phantom=result["data"]["phantom"],
                view=section["view"],
                weights=result["weights"]["provenance"],
                classes=section["classes"],
                headline=section["headline"],
                tissue=section.get("tissue"),
                criteria=section["criteria"],
                key={
                    "suite": result["suite"]["fingerprint"],
                    "label_map": result["label_map"]["fingerprint"],
                    "split": result["split"]["fingerprint"],
                    "data": result["data"]["fingerprint"],
                    "preset": result["preset"],
                    "protocol": result["protocol"],
                    "mpp": result["mpp"],
                    "prompting": section.get("prompting"),
                    "scored": result["split"].get("scored", "test"),
                    "metrics_version": result["metrics_version"],
                },
                not_ranked=result["label_map"].get("not_ranked") or _flawed(flaws),
                evaluated=result.get("evaluated", False),
                ceiling=section.get("ceiling"),
                others=section.get("others", []),
                regions=section.get("regions"),
                region_accuracy=section.get("region_accuracy"),
                flaws=flaws,
                objects=section.get("objects"),
                boundary=section.get("boundary"),
                without_border=section.get("without_border"),
                training={name: (result.get("training") or {}).get(name) for name in TRAINING},
                cost={
                    "parameters": (result.get("parameters") or {}).get("total"),
                    **{name: (result.get("cost") or {}).get(name) for name in COST},
                },
            )
        )
    return rows


def _flawed(flaws: list[str]) -> str | None:
    return "the suite has known flaws, listed below" if flaws else None


def _failure(run_dir: Path) -> dict[str, str] | None:
    try:
        reason = json.loads((run_dir / "failure.json").read_text(encoding="utf-8"))["reason"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        reason = "failure.json cannot be read"
    return {
        "suite": run_dir.parent.parent.name,
        "backend": run_dir.parent.name,
        "run": str(run_dir),
        "reason": str(reason),
    }


def _table(suite: str, track: str, group: list[Row]) -> Table:
    """Split a group by comparability; the largest set of comparable rows is ranked.

    Among equally large sets the one with the newest result wins.
    """
    keys = {id(row): json.dumps(row.key, sort_keys=True) for row in group}
    sizes = Counter(keys.values())
    newest = {key: max(r.created for r in group if keys[id(r)] == key) for key in sizes}
    chosen = max(sizes, key=lambda key: (sizes[key], newest[key]))
    reference = next(row for row in group if keys[id(row)] == chosen)
    table = Table(suite, track, [])
    for row in group:
        if keys[id(row)] == chosen:
            table.rows.append(row)
        else:
            table.not_comparable.append((row, _difference(row, reference)))
    same = Counter((row.backend, row.seed) for row in table.rows)
    for row in table.rows:
        if same[row.backend, row.seed] > 1:
            row.variant = Path(row.run).name.rpartition("-")[2][:6]
    table.rows.sort(key=lambda row: (-row.sort_value(), row.backend, row.seed))
    rank = 0
    for row in table.rows:
        if not row.floor and not row.not_ranked:
            rank += 1
            row.rank = rank
    return table


def _difference(row: Row, reference: Row) -> str:
    differs = [name for name in COMPARABLE if row.key[name] != reference.key[name]]

    def show(value: Any) -> str:
        text = str(value)
        return text[:8] if len(text) == 64 else text

    return "; ".join(
        f"{name} differs ({show(row.key[name])} here, {show(reference.key[name])} in the ranking)"
        for name in differs
    )
