"""A board as a table, JSON, CSV or Markdown."""

from __future__ import annotations

import csv as csv_module
import json as json_module
from collections.abc import Sequence
from typing import Any, TextIO

from benchbcss.board.rows import Board, Row, Table

MARKS = {
    "pass": "pass",
    "fail": "FAIL",
    "undecided": "undecided",
    "not measured": "not measured",
    "not applicable": "not applicable",
}
PHANTOM = "phantom: synthetic images, not BCSS"
PROMPTED = (
    "prompted: hints are made from ground truth, so this is an oracle; absent classes are not "
    "prompted, so false positives there cannot be seen"
)


def _lines(part: Table) -> list[list[str]]:
    ceiling = _has_ceiling(part)
    return [_cells(row, ceiling) for row in part.rows]


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if not bounds else f"[{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _mean(part: dict[str, Any] | None) -> str:
    if part is None:
        return "-"
    text = _number(part["mean"])
    if part["defined"] < part["of"]:
        text += f" ({part['defined']} of {part['of']})"
    return text


def _columns(table: Table) -> list[str]:
    classes = table.rows[0].classes if table.rows else []
    columns = ["#", "backend", "view", "mean (per ROI)", "95 %"]
    if table.track == "semantic":
        return [*columns, "mean (pooled)", *classes, "tissue Dice", "region acc."]
    ceiling = ["ceiling"] if _has_ceiling(table) else []
    return [*columns, *ceiling, *classes, "CLIP acc. (on truth)"]


def _has_ceiling(table: Table) -> bool:
    return any(row.ceiling for row in table.rows)


def name_of(row: Row) -> str:
    """Backend, seed unless 0, and the run where a backend has several of one seed."""
    variant = f" #{row.variant}" if row.variant else ""
    evaluated = " (evaluated)" if row.evaluated else ""
    return row.backend + (f" s{row.seed}" if row.seed else "") + variant + evaluated


def _cells(row: Row, ceiling: bool) -> list[str]:
    per_roi, pooled = row.headline["per_roi"], row.headline.get("pooled")
    name = name_of(row) + (" (floor)" if row.floor else "")
    cells = [
        "" if row.rank is None else str(row.rank),
        name,
        row.view,
        _mean(per_roi),
        _interval(per_roi["mean_interval"]),
    ]
    if row.track == "semantic":
        cells.append(_mean(pooled))
    elif ceiling:
        cells.append(_number(row.ceiling["mean"] if row.ceiling else None))
    cells += [_number(per_roi["dice"][name]) for name in row.classes]
    if row.track == "semantic":
        tissue, regions = row.tissue or {}, row.region_accuracy or {}
        skill = _number(tissue.get("skill"), 2)
        cells.append(f"{_number(tissue.get('dice'))} (skill {skill})")
        cells.append(_number(regions.get("accuracy"), 2))
    elif row.regions and "predicted" in row.regions:
        found, truth = (row.regions[k]["accuracy"] for k in ("predicted", "ground_truth"))
        cells.append(f"{_number(found, 2)} ({_number(truth, 2)})")
    else:
        cells.append("-")
    return cells


def _title(table: Table) -> str:
    title = f"{table.suite} / {table.track}"
    prompting = table.rows[0].key.get("prompting") if table.rows else None
    if prompting:
        views = ", four views averaged" if prompting.get("tta") else ""
        title += f" by {prompting['strategy']}, {prompting.get('scope', 'class')}{views}"
    if table.rows and table.rows[0].key.get("scored") == "val":
        title += " (validation ROIs)"
    return title


def _notes(table: Table) -> list[str]:
    notes = [
        "Dice per class is the mean over ROIs that have the class (per ROI); pooled sums "
        "pixels over ROIs first."
    ]
    if any(row.phantom for row in table.rows):
        notes.append(PHANTOM)
    for why in sorted({row.not_ranked for row in table.rows if row.not_ranked}):
        notes.append(f"never ranked: {why}")
    for flaw in table.rows[0].flaws if table.rows else []:
        notes.append(f"flaw: {flaw}")
    if table.track == "prompted":
        notes.append(PROMPTED)
        if _has_ceiling(table):
            notes.append(
                "ceiling: what a perfect outline of the part pointed at scores against the class"
            )
        others = max((len(row.others) for row in table.rows), default=0)
        if others:
            notes.append(f"{others} other promptings: benchbcss leaderboard --promptings")
    else:
        notes.append(
            "tissue Dice is misleading: it scores any tissue against background; skill "
            "is what it adds over painting tissue everywhere; region acc. is the share of true "
            "regions mostly given their own label"
        )
    return notes


COSTS = (
    "backend",
    "weights",
    "budget",
    "steps x batch",
    "parameters",
    "train s",
    "inference s",
    "device",
    "memory GB",
)


def _costs(board: Board) -> list[list[str]]:
    """One line per run, in the order of the tables."""
    seen: set[str] = set()
    lines = []
    for row in (row for part in board.tables for row in part.rows):
        if row.run in seen:
            continue
        seen.add(row.run)
        cost, training = row.cost, row.training
        steps = f"{training['steps']} x {training['batch_size']}" if training.get("steps") else "-"
        inference = sum((cost.get("inference_seconds") or {}).values())
        memory = cost.get("peak_gpu_bytes") or cost.get("peak_host_bytes")
        parameters = cost.get("parameters")
        lines.append(
            [
                name_of(row),
                row.weights,
                training.get("budget") or ("own fit" if training.get("own_fit") else "-"),
                steps,
                f"{parameters / 1e6:.1f} M" if parameters else "-",
                _number(cost.get("train_seconds"), 0),
                _number(inference, 0),
                f"{cost.get('device') or '-'} {cost.get('precision') or ''}".rstrip(),
                f"{memory / 1e9:.1f}" if memory else "-",
            ]
        )
    return lines


def _monitored(part: Table) -> list[str]:
    """What validation said where it watched the metric that misleads."""
    notes = []
    for row in part.rows:
        training = row.training
        if training.get("monitor") == "any_tissue_dice" and training.get("best_mean_dice"):
            notes.append(
                f"{name_of(row)}: its weights were chosen by any-tissue Dice, "
                f"{training['best_validation']:.3f} in validation; per class that was "
                f"{training['best_mean_dice']:.3f}"
            )
    return notes


OBJECTS = (
    "object F1 (recall): 8-connected components of at least 50 um^2, matched one to one at "
    "IoU > 0.5; false per mm^2 counts unmatched predicted ones; surface Dice within 5 um"
)


def _warnings(part: Table) -> list[str]:
    """The trap in words, for each row that is in it."""
    return [
        f"{name_of(row)}: {row.tissue['warning']}"
        for row in part.rows
        if not row.floor and row.tissue and row.tissue.get("warning")
    ]


def _objects(part: Table) -> tuple[list[str], list[list[str]]] | None:
    """Small objects per class, vessels first, and boundaries."""
    rows = [row for row in part.rows if row.objects]
    if not rows:
        return None
    classes = sorted(rows[0].classes, key=lambda name: name != "blood_vessel")
    lines = []
    for row in rows:
        assert row.objects is not None
        own = [row.objects.get(name, {}) for name in classes]
        found = [f"{_number(o.get('f1'), 2)} ({_number(o.get('recall'), 2)})" for o in own]
        false = _number(own[0].get("false_per_mm2"), 1)
        border = (row.without_border or {}).get("per_roi", {}).get("mean")
        surface = (row.boundary or {}).get("mean")
        lines.append([name_of(row), *found, false, _number(surface), _number(border)])
    columns = ["backend", *classes, f"false {classes[0]} / mm2", "surface Dice", "Dice off borders"]
    return columns, lines


def _promptings(part: Table) -> tuple[list[str], list[list[str]]]:
    """Every prompting's mean per-class Dice, a column per row of the board."""
    rows = [row for row in part.rows if row.key.get("prompting")]
    scores: dict[str, dict[str, str]] = {}
    ceilings: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: -len(row.others)):  # the suite's own order
        mine = [{"prompting": row.key["prompting"], "headline": row.headline} | _ceiling(row)]
        for each in [*mine, *row.others]:
            hint = each["prompting"]
            key = hint.get("key", f"{hint['strategy']}-{hint['scope']}")
            scores.setdefault(key, {})[name_of(row)] = _mean(each["headline"]["per_roi"])
            ceilings[key] = _number((each.get("ceiling") or {}).get("mean"))
    names = [name_of(row) for row in rows]
    lines = [
        [key, *(own.get(name, "-") for name in names), ceilings[key]] for key, own in scores.items()
    ]
    return ["prompting", *names, "ceiling"], lines


def _ceiling(row: Row) -> dict[str, Any]:
    return {"ceiling": row.ceiling}


def table(
    board: Board, stream: TextIO, *, reported: list[dict[str, Any]], promptings: bool = False
) -> None:
    """For a terminal."""
    from rich.console import Console

    width = None if stream.isatty() else 170
    console = Console(file=stream, width=width, highlight=False)
    if not board.tables and not board.failures:
        console.print("No results yet. Run: benchbcss run unetpp", markup=False)
    for part in board.tables:
        _grid(console, _title(part), _columns(part), _lines(part), (1, 2))
        for note in _notes(part):
            console.print(f"  {note}", markup=False, soft_wrap=True)
        _verdicts(part, console)
        for note in [*_monitored(part), *_warnings(part)]:
            console.print(f"  {note}", markup=False, soft_wrap=True)
        objects = _objects(part)
        if objects:
            _grid(console, "objects and borders", *objects, (0,))
            console.print(f"  {OBJECTS}", markup=False, soft_wrap=True)
        if promptings and part.track == "prompted" and part.rows:
            columns, lines = _promptings(part)
            title = f"{part.suite} / prompted: mean per-class Dice (per ROI) by prompting"
            _grid(console, title, columns, lines, (0,))
        for row, why in part.not_comparable:
            console.print(f"  not comparable: {row.backend}: {why}", markup=False, soft_wrap=True)
        console.print()
    costs = _costs(board)
    if costs:
        _grid(console, "what it cost", COSTS, costs, (0, 1, 2, 3, 7))
        console.print()
    for failure in board.failures:
        console.print(
            f"failed: {failure['backend']} ({failure['suite']}): {failure['reason']}",
            markup=False,
            soft_wrap=True,
        )
    for missing in board.not_measured:
        console.print(
            f"not measured: {missing['backend']} ({missing['suite']}, {missing['track']}): "
            f"{missing['reason']}",
            markup=False,
            soft_wrap=True,
        )
    for path in board.unreadable:
        console.print(f"unreadable: {path}", markup=False, soft_wrap=True)
    if reported:
        _grid(
            console,
            "Reported elsewhere: never ranked, not measured by this harness",
            ["model", "classes", "prompting", "mean Dice", "vessel", "n", "source"],
            [
                [
                    entry["model"],
                    str(entry.get("label_set", "")),
                    str(entry.get("prompting", "")),
                    str(entry.get("mean_dice", "-")),
                    str(entry.get("dice", {}).get("blood_vessel", "-")),
                    str(entry.get("n", "")),
                    entry["source"],
                ]
                for entry in reported
            ],
            range(7),
        )


def _grid(
    console: Any,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[int],
) -> None:
    """A table; ``left`` are the columns aligned left. rich needs a second for a thousand rows,
    more than everything else together: long tables are aligned plainly."""
    if len(rows) <= 100:
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(title=title, title_justify="left")
        for index, name in enumerate(columns):
            grid.add_column(name, justify="left" if index in left else "right", overflow="fold")
        for row in rows:
            grid.add_row(*(Text(cell) for cell in row))
        console.print(grid)
        return
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]
    lines = [title]
    for line in (columns, *rows):
        cells = [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    console.file.write("\n".join(lines) + "\n")


def _verdicts(part: Table, console: Any) -> None:
    rows = [row for row in part.rows if not row.floor and row.criteria]
    if not rows:
        return
    columns = ["backend", *(criterion["label"] for criterion in rows[0].criteria)]
    cells = [
        [
            name_of(row),
            *(
                MARKS[c["status"]] + (f" ({c['point']})" if c.get("point") else "")
                for c in row.criteria
            ),
        ]
        for row in rows
    ]
    _grid(console, "success criteria", columns, cells, range(len(columns)))
    for row in rows:
        for criterion in row.criteria:
            if criterion["status"] in ("not measured", "fail") and criterion["metric"] in (
                "clip_accuracy",
                "stability",
            ):
                console.file.write(
                    f"  {name_of(row)}: {criterion['label']}: {criterion['reason']}\n"
                )


def json(board: Board, stream: TextIO, *, reported: list[dict[str, Any]]) -> None:
    """Pure JSON: tables, rows that do not compare, failures, reported."""
    content = {
        "tables": [
            {
                "suite": part.suite,
                "track": part.track,
                "rows": [vars(row) for row in part.rows],
                "not_comparable": [{**vars(row), "why": why} for row, why in part.not_comparable],
            }
            for part in board.tables
        ],
        "failures": board.failures,
        "not_measured": board.not_measured,
        "unreadable": board.unreadable,
        "reported": reported,
    }
    # Without indent the C encoder is used, several times faster for a thousand rows.
    stream.write(json_module.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")


def csv(board: Board, stream: TextIO, *, reported: list[dict[str, Any]]) -> None:
    """One line per row and class: tidy, for a spreadsheet or pandas."""
    writer = csv_module.writer(stream, lineterminator="\n")
    writer.writerow(
        [
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
        ]
    )
    for part in board.tables:
        pairs = [(row, _status(row)) for row in part.rows]
        pairs += [(row, f"not comparable: {why}") for row, why in part.not_comparable]
        for row, status in pairs:
            head = [
                part.suite,
                part.track,
                row.rank or "",
                row.backend,
                row.seed,
                row.view,
                row.weights,
            ]
            hint = row.key.get("prompting") or {}
            parts = [(hint.get("key", ""), row.headline)]
            parts += [(each["prompting"]["key"], each["headline"]) for each in row.others]
            for key, headline in parts:
                for estimand, section in headline.items():
                    if section is None:
                        continue
                    mean = section["mean_interval"] or ["", ""]
                    own = [*head, key, estimand]
                    writer.writerow([*own, "mean", _blank(section["mean"]), *mean, status])
                    for name in row.classes:
                        bounds = section["intervals"].get(name) or ["", ""]
                        value = _blank(section["dice"][name])
                        writer.writerow([*own, name, value, *bounds, status])
    for failure in board.failures:
        writer.writerow(
            [
                failure["suite"],
                "",
                "",
                failure["backend"],
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                f"failed: {failure['reason']}",
            ]
        )


def _status(row: Row) -> str:
    if row.floor:
        return "floor"
    return "ranked" if row.rank else f"never ranked: {row.not_ranked}"


def md(board: Board, stream: TextIO, *, reported: list[dict[str, Any]]) -> None:
    """GitHub-flavoured Markdown."""
    for part in board.tables:
        stream.write(f"## {_title(part)}\n\n")
        _md_table(stream, _columns(part), _lines(part))
        stream.write("\n".join(f"- {note}" for note in _notes(part)) + "\n\n")
        rows = [row for row in part.rows if not row.floor and row.criteria]
        if rows:
            header = ["backend", *(c["label"] for c in rows[0].criteria)]
            _md_table(
                stream,
                header,
                [[row.backend, *(c["status"] for c in row.criteria)] for row in rows],
            )
        notes = [*_monitored(part), *_warnings(part)]
        stream.writelines(f"- {_escape(note)}\n" for note in notes)
        objects = _objects(part)
        if objects:
            stream.write("\n")
            _md_table(stream, *objects)
            stream.write(f"- {OBJECTS}\n")
        for row, why in part.not_comparable:
            stream.write(f"- not comparable: {_escape(row.backend)}: {_escape(why)}\n")
        if part.track == "prompted" and any(row.others for row in part.rows):
            stream.write("\n")
            _md_table(stream, *_promptings(part))
    costs = _costs(board)
    if costs:
        stream.write("\n## What it cost\n\n")
        _md_table(stream, list(COSTS), costs)
    for missing in board.not_measured:
        where = f"{_escape(missing['backend'])}, {missing['track']}"
        stream.write(f"- not measured: {where}: {_escape(missing['reason'])}\n")
    for failure in board.failures:
        stream.write(f"- failed: {_escape(failure['backend'])}: {_escape(failure['reason'])}\n")
    if reported:
        stream.write("\n## Reported elsewhere (never ranked)\n\n")
        _md_table(
            stream,
            ["model", "classes", "prompting", "mean Dice", "vessel", "source"],
            [
                [
                    entry["model"],
                    str(entry.get("label_set", "")),
                    str(entry.get("prompting", "")),
                    str(entry.get("mean_dice", "-")),
                    str(entry.get("dice", {}).get("blood_vessel", "-")),
                    entry["source"],
                ]
                for entry in reported
            ],
        )


def _md_table(stream: TextIO, header: list[str], rows: list[list[str]]) -> None:
    for cells in (header, ["---"] * len(header), *rows):
        stream.write("| " + " | ".join(_escape(cell) for cell in cells) + " |\n")
    stream.write("\n")


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _blank(value: float | None) -> float | str:
    return "" if value is None else value
