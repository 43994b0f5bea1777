"""What the report shows of each table, gathered: figures, tables, and sentences for what is not
there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchbcss.board import cells, summary
from benchbcss.board.cells import Grid
from benchbcss.board.model import Board, Row, Table
from benchbcss.report import class_charts, cost, ids, score_charts, tables, training
from benchbcss.report.answers import Answer, answers
from benchbcss.report.charts import Figure
from benchbcss.report.commands import command
from benchbcss.report.comparison import compared
from benchbcss.report.gallery import ROOM, Gallery, gallery
from benchbcss.report.rois import RoiScores, scores_of
from benchbcss.tracks.base import number

NOT_HERE = "Not measured in this track."
PROVENANCE = (
    "model",
    "command",
    "run",
    "made",
    "weights",
    "SHA-256 of weights",
    "plugin",
    "split",
    "fingerprint",
)


@dataclass
class Part:
    """A section: figures, then tables, then the gallery, then ``notes`` in sentences."""

    title: str
    about: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[tables.Shown] = ()
    notes: Sequence[str] = ()
    gallery: Gallery | None = None
    id: str = field(default_factory=lambda: ids.new("part"))


@dataclass
class Shown:
    """A board's table: its verdict, and the parts behind it."""

    title: str
    about: str
    sentence: str
    answers: Sequence[Answer]
    warnings: Sequence[str]
    parts: Sequence[Part]
    id: str = field(default_factory=lambda: ids.new("table-of"))


def shown(board: Board, table: Table, seen: set[Path]) -> Shown:
    """One of ``board``'s tables. ``seen`` are runs whose training and provenance an earlier one
    shows; it is added to."""
    scores = [scores_of(row) for row in table.rows]
    fresh = [row for row in table.rows if row.run not in seen]
    seen.update(row.run for row in table.rows)
    parts = [
        _scores(table),
        _classes(table),
        _confusions(table),
        _tissue(table),
        _training(fresh, len(table.rows)),
        _objects(table),
        _rois(table, scores),
        _institutes(table),
        _pictures(table, scores, ROOM // len(board.tables)),
        _pairs(board, table),
        _cost(table),
        _provenance(fresh, len(table.rows)),
    ]
    return Shown(
        cells.title(table),
        summary.about(table),
        summary.sentence(table),
        answers(table),
        summary.warnings(table, every=True),
        parts,
    )


def _faint(table: Table) -> list[int]:
    return [index for index, row in enumerate(table.rows) if row.floor]


def _scores(table: Table) -> Part:
    grids = [tables.table(cells.scores(table), faint=_faint(table))]
    verdicts = cells.verdicts(table)
    if verdicts:
        grids.append(tables.table(verdicts))
    promptings = cells.promptings(table)
    if promptings:
        grids.append(tables.table(promptings))
    notes = [*cells.notes(table), *cells.reasons(table)]
    notes += [f"not comparable: {row.name}: {why}" for row, why in table.not_comparable]
    about = (
        "Filled: rank 1, alone or shared. Hollow: other models. Squares: floors, which learn "
        "nothing or next to nothing. The rank is on the right; models that cannot be told apart "
        "share it."
    )
    figures = [score_charts.mean(table), score_charts.heat_map(table)]
    return Part("Scores", about, figures, grids, notes)


def _classes(table: Table) -> Part:
    about = "Dice of each class with its 95 % interval where one is given, models as above."
    return Part("Classes", about, score_charts.by_class(table))


def _confusions(table: Table) -> Part:
    figures = [figure for row in table.rows if (figure := class_charts.confusion(row))]
    about = (
        "Per cent of the pixels of each true class (line) by what they were called (column). A "
        "good model has its strong cells on the diagonal."
    )
    notes = [
        f"{row.name}: {'; '.join(row.scores.confusion.most_confused)}"
        for row in table.rows
        if row.scores.confusion and row.scores.confusion.most_confused and not row.floor
    ]
    if not figures:
        return Part("Confusions", notes=[NOT_HERE])
    return Part("Confusions", about, figures, notes=notes)


def _tissue(table: Table) -> Part:
    figure = score_charts.tissue(table)
    about = (
        "Diamond: Dice of any tissue against background, which misleads. Dot: mean per-class Dice "
        "of the same model. Bar: the any-tissue Dice of painting tissue everywhere."
    )
    notes = [*cells.monitored(table), *cells.warnings(table)]
    if figure is None:
        return Part("Any-tissue trap", notes=[NOT_HERE, *notes])
    return Part("Any-tissue trap", about, [figure], notes=notes)


def _training(rows: Sequence[Row], of: int) -> Part:
    about = (
        "Solid: mean per-class Dice in validation. Dashed: any-tissue Dice, which misleads. "
        "Dotted: what learning nothing scores. Below: training loss."
    )
    figures, notes = [], []
    for row in rows:
        curve = training.curve_of(row)
        if isinstance(curve, str):
            notes.append(curve)
            continue
        figures.append(training.figure(row, curve))
        stability = row.result.stability
        if stability:
            more = f"; {stability.note}" if stability.note else ""
            notes.append(f"{row.name}: {stability.status}: {stability.reason}{more}")
    if len(rows) < of:
        notes.append("Runs that a table above shares have their curves there.")
    return Part("Training", about if figures else "", figures, notes=notes)


def _objects(table: Table) -> Part:
    figures = class_charts.objects(table)
    grid = cells.objects(table)
    shown_tables = [tables.table(grid, faint=_named(grid, table))] if grid else []
    about = (
        "Share of true objects of each class that were found, by their area in um²; n counts them."
    )
    if not figures and not shown_tables:
        return Part("Objects by size", notes=[NOT_HERE])
    return Part("Objects by size", about, figures, shown_tables, [cells.OBJECTS])


def _named(grid: Grid, table: Table) -> list[int]:
    """Lines of ``grid`` that are floors'."""
    floors = {row.name for row in table.rows if row.floor}
    return [index for index, line in enumerate(grid.rows) if line[0] in floors]


def _rois(table: Table, scores: Sequence[RoiScores]) -> Part:
    figures = class_charts.distributions(table, scores)
    about = "Each dot is an ROI; the box holds the middle half, its line the median."
    notes = [
        f"{row.name}: single ROIs are not shown: {rois.reason}"
        for row, rois in zip(table.rows, scores, strict=True)
        if rois.reason
    ]
    lost = [row.name for row in table.rows if row.scores.spread is None]
    if lost:
        notes.append(f"No distribution over ROIs is recorded of {', '.join(lost)}.")
    return Part("ROIs", about if figures else "", figures, notes=notes)


def _institutes(table: Table) -> Part:
    figure = class_charts.institutes(table)
    lines = []
    for row in table.rows:
        part = row.scores.headline.per_roi
        wider = part.mean_interval_institutes
        if wider is not None:
            spans = [cells.interval(span, part.mean) or "-" for span in (part.mean_interval, wider)]
            lines.append([row.name, number(part.mean), *spans])
    columns = ["model", "mean Dice", "95 % over ROIs", "95 % over institutes, for a new hospital"]
    grid = Grid("Intervals over institutes", columns, lines)
    reasons = {row.scores.headline.per_roi.institutes_reason for row in table.rows} - {None}
    notes = [f"no interval over institutes: {why}" for why in sorted(map(str, reasons))]
    if figure is None:
        notes.insert(0, "Fewer than two institutes are known of the scored ROIs.")
    return Part(
        "Institutes",
        "" if figure is None else "Mean Dice of each institute's ROIs.",
        [figure] if figure else [],
        [tables.table(grid, faint=_named(grid, table))] if lines else [],
        notes,
    )


def _pictures(table: Table, scores: Sequence[RoiScores], room: int) -> Part:
    by_row = {id(row): part for row, part in zip(table.rows, scores, strict=True)}
    made = gallery(table.rows, by_row, room)
    notes = [f"{model.name}: no pictures: {model.reason}" for model in made.models if model.reason]
    if made.left_out:
        notes.append(f"{made.left_out} more models have no pictures here: benchbcss show-roi")
    about = (
        "Each model's best, median and worst ROI by mean Dice, reduced. Choose which classes are "
        "shown; what is hidden shows the image."
    )
    if any(row.scores.prompting for row in table.rows):
        about += " Masks of several classes may overlap: the smallest is on top."
    if not any(model.rois for model in made.models):
        return Part("Pictures", notes=notes or ["There is no model to show pictures of."])
    return Part("Pictures", about, notes=notes, gallery=made)


def _pairs(board: Board, table: Table) -> Part:
    comparison = compared(board, table)
    if comparison.figure is None:
        return Part("Pairs", notes=[comparison.reason])
    about = (
        "Mean Dice of the line minus that of the column, on the same ROIs; a star marks a "
        "difference that holds (p below 0.05 after adjusting for all pairs by Holm)."
    )
    grids = [tables.table(grid) for grid in comparison.grids]
    return Part("Pairs", about, [comparison.figure], grids, comparison.notes)


def _cost(table: Table) -> Part:
    figure = cost.figure(table)
    grid = cells.costs(Board([table], [], []))
    about = (
        "Up and to the left is better: more Dice for less time. Seconds depend on the device. A "
        "name that would cover others is left out; the table has all."
    )
    return Part(
        "Cost",
        about if figure else "",
        [figure] if figure else [],
        [tables.table(grid, faint=_named(grid, table))] if grid else [],
        [] if figure else ["No run has its time recorded."],
    )


def _provenance(rows: Sequence[Row], of: int) -> Part:
    lines = []
    for row in rows:
        result = row.result
        plugin, split = result.plugin, result.split
        lines.append(
            [
                row.name,
                command(row),
                row.run.name,
                result.created,
                result.weights.provenance,
                (result.weights.sha256 or "-")[:16],
                f"{plugin.distribution} {plugin.version}" if plugin else "-",
                f"{split.name} ({split.train}/{split.val}/{split.test})",
                result.fingerprint[:16] or "-",
            ]
        )
    notes = []
    if len(rows) < of:
        notes.append("Runs that a table above shares have their commands there.")
    if not lines:
        return Part("Provenance", notes=notes)
    grid = Grid("Commands that make the rows again", PROVENANCE, lines, tuple(range(9)))
    about = "Each row can be made again by its command, in any workspace."
    return Part("Provenance", about, tables=[tables.table(grid, code=(1,))], notes=notes)
