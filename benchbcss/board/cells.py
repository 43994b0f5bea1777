"""What stands in a board's tables, as text: shared by every exporter that shows tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbcss.board.model import Board, Row, Table
from benchbcss.board.unfinished import one_line
from benchbcss.errors import COMPLETE
from benchbcss.results import judge
from benchbcss.tracks.base import Column, number
from benchbcss.tracks.semantic import mean_cell as mean

if TYPE_CHECKING:
    from benchbcss.results.schema import Bounds, Estimand, MeanDice, TrackResult

#: verdict -> one character; where an encoding lacks them, those of ASCII
MARKS = {
    "pass": "✓",
    "fail": "✗",
    "undecided": "?",
    "not measured": "–",
    "not applicable": "·",
}
ASCII_MARKS = dict(zip(MARKS, "+x?-.", strict=True))
PHANTOM = "phantom: synthetic images, not BCSS"
ESTIMANDS = (
    "Dice per class is the mean over ROIs that have the class (per ROI); pooled sums pixels over "
    "ROIs first."
)
OBJECTS = (
    "object F1 (recall): 8-connected components of at least 50 um^2, matched one to one at "
    "IoU > 0.5; false per mm^2 counts unmatched predicted ones; surface Dice within 5 um"
)


@dataclass(frozen=True)
class Grid:
    """A table of text; ``left`` are the columns aligned left, and the first ``key`` columns say
    which row it is."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)
    key: int = 1


def scores(table: Table) -> Grid:
    """Rank, model, view, means, Dice of each class with its interval, and the other columns."""
    classes = classes_of(table)
    shown = {*classes, "view"}
    others = [column for column in extra_columns(table) if column.title not in shown]
    lines = []
    for row in table.rows:
        headline = row.scores.headline.per_roi
        lines.append(
            [
                row.rank_text,
                row.name + (" (floor)" if row.floor else ""),
                row.scores.view,
                str(row.scores.rois),
                mean(headline),
                interval(headline.mean_interval, headline.mean) or "-",
                *(class_cell(headline, name) for name in classes),
                *(column.cell(row.scores) for column in others),
            ]
        )
    names = ["rank", "model", "view", "ROIs", "mean Dice", "95 %"]
    names += [*classes, *(column.title for column in others)]
    return Grid("mean and per-class Dice with 95 % intervals", names, lines, (1, 2), key=2)


def classes_of(table: Table) -> list[str]:
    """Those in the mean, the one that the suite highlights first."""
    return highlighted(table.rows[0]) if table.rows else []


def class_cell(part: Estimand, name: str) -> str:
    point = part.dice.get(name)
    return f"{number(point)} {interval(part.intervals.get(name), point)}".rstrip()


def interval(bounds: Bounds | None, point: float | None = None) -> str:
    """Two digits, or three where with two the ``point``, shown with three, would seem outside."""
    if bounds is None:
        return ""
    low, high = bounds
    inside = point is not None and low <= point <= high
    if inside and not round(low, 2) <= round(point or 0.0, 3) <= round(high, 2):
        return f"[{low:.3f}, {high:.3f}]"
    return f"[{low:.2f}, {high:.2f}]"


def extra_columns(table: Table) -> list[Column]:
    """After the mean, the most wanted first: metrics that plugins registered, Dice of each class,
    what the track brings, and how the ROI was seen."""
    results = [row.scores for row in table.rows]
    classes = classes_of(table)
    columns = {column.title: column for column in table.track.columns(results)}
    first = [columns.pop(name) for name in classes if name in columns]
    view = Column("view", lambda result: result.view)
    return [*registered(results), *first, *columns.values(), view]


def registered(results: Sequence[TrackResult]) -> list[Column]:
    """A column for each metric that a plugin registered: its mean over the classes in the mean."""

    def column(name: str, label: str) -> Column:
        return Column(label, lambda result: number(metric_mean(result, name, "per_roi")))

    return [column(name, label) for name, label in strangers(results).items()]


def strangers(results: Sequence[TrackResult]) -> dict[str, str]:
    """{name: label} of registered metrics that are not the core's, in the order of their names."""
    labels: dict[str, str] = {}
    for result in results:
        labels |= result.foreign_metrics
    return dict(sorted(labels.items()))


def metric_mean(result: TrackResult, name: str, estimand: str) -> float | None:
    """Mean of a registered metric over the classes in the mean; None where none is defined."""
    values = result.per_class.get(estimand, {}).get(name, {})
    defined = [v for v in (values.get(cls) for cls in result.classes) if v is not None]
    return sum(defined) / len(defined) if defined else None


def criteria(table: Table) -> list[str]:
    """The labels of the suite's criteria, in its order."""
    return list(dict.fromkeys(label for outcome in table.outcomes for _, label, _ in outcome))


def title(table: Table) -> str:
    text = f"{table.suite} / {table.track.name}"
    first = table.rows[0] if table.rows else None
    prompting = first.scores.prompting if first else None
    if prompting:
        combined = "by vote" if prompting.views == "vote" else "averaged"
        views = f", four views {combined}" if prompting.tta else ""
        text += f" by {prompting.strategy}, {prompting.scope}{views}"
    return text


def notes(table: Table) -> list[str]:
    """What a reader must know beside the numbers."""
    lines = [ESTIMANDS]
    if any(row.result.data.phantom for row in table.rows):
        lines.append(PHANTOM)
    for why in sorted({row.not_ranked for row in table.rows if row.not_ranked}):
        lines.append(f"never ranked: {why}")
    lines.append(table.track.caveat)
    if any(row.tied and row.tied[0] != row.tied[1] for row in table.rows):
        lines.append("ranks such as 1-3 are shared: no significant difference (benchbcss compare)")
    if any(row.scores.ceiling for row in table.rows):
        lines.append(
            "ceiling: what a perfect outline of the part pointed at scores against the class"
        )
    others = max((row.scores.other_promptings for row in table.rows), default=0)
    if others:
        lines.append(f"{others} other combinations of prompt, scope and views were scored as well")
    return lines


def verdicts(table: Table) -> Grid | None:
    """The suite's criteria, one column each; None where nothing is judged."""
    labels = criteria(table)
    if not labels:
        return None
    lines = []
    for row in table.judged:
        given = {v.label: v for v in row.verdicts}
        cells = [given.get(label) for label in labels]
        lines.append(
            [
                row.name,
                *(
                    "" if v is None else v.status + (f" ({v.point})" if v.point else "")
                    for v in cells
                ),
            ]
        )
    return Grid("success criteria", ["model", *labels], lines, range(len(labels) + 1))


def parts(table: Table) -> list[tuple[Grid, list[str]]]:
    """What follows a table's scores where there is room for all of it: verdicts, objects and other
    promptings, each with its notes."""
    sections: list[tuple[Grid | None, list[str]]] = [
        (verdicts(table), [*reasons(table), *monitored(table), *warnings(table)]),
        (objects(table), [OBJECTS]),
        (promptings(table), []),
    ]
    return [(grid, notes) for grid, notes in sections if grid is not None]


def completable(board: Board) -> str:
    """How what was not measured for want of weights is measured later; '' where nothing was."""
    reasons = [missing.reason for missing in board.not_measured]
    for table in board.tables:
        regions = [row.scores.regions for row in table.rows]
        reasons += [part.not_measured for part in regions if part and part.not_measured]
    if not any(COMPLETE in reason for reason in reasons):
        return ""
    return f"once the missing weights are there, measure it without training by: {COMPLETE}"


def troubles(board: Board) -> list[str]:
    """A line for each run or track without a result."""
    lines = [f"{run.state}: {run.title}: {run.detail}" for run in board.unfinished]
    lines += [f"failed: {failure.title}: {failure.line}" for failure in board.failures]
    lines += not_measured(board)
    return [*lines, *(f"unreadable: {text}" for text in board.unreadable)]


def not_measured(board: Board) -> list[str]:
    """A line for each track that could not be measured; seeds of the same reason share it."""
    runs = Counter((m.backend, m.suite, m.track, one_line(m.reason)) for m in board.not_measured)
    return [
        f"not measured: {backend} ({suite}, {track}{f', {count} runs' * (count > 1)}): {reason}"
        for (backend, suite, track, reason), count in runs.items()
    ]


def reasons(table: Table) -> list[str]:
    """Why each criterion stands as it does; models of the same reason in one line."""
    models_by_reason: dict[tuple[str, str, str], list[str]] = {}
    for row in table.judged:
        for v in row.verdicts:
            models_by_reason.setdefault((v.label, v.status, v.reason), []).append(row.name)
    order = {label: i for i, label in enumerate(criteria(table))}
    reasons = sorted(models_by_reason.items(), key=lambda item: order[item[0][0]])
    return [f"{': '.join(reason)} ({', '.join(names)})" for reason, names in reasons]


def monitored(table: Table) -> list[str]:
    """What validation said where it watched the metric that misleads."""
    lines = []
    for row in table.rows:
        training = row.result.training
        best, honest = training.best_validation, training.best_mean_dice
        if training.monitor == "any_tissue_dice" and best is not None and honest:
            lines.append(
                f"{row.name}: its weights were chosen by any-tissue Dice, {best:.3f} in "
                f"validation; per class that was {honest:.3f}"
            )
    return lines


def warnings(table: Table) -> list[str]:
    """The trap in words, for each row that is in it."""
    return [
        f"{row.name}: {row.scores.tissue.warning}"
        for row in table.rows
        if not row.floor and row.scores.tissue and row.scores.tissue.warning
    ]


def objects(table: Table) -> Grid | None:
    """Small objects per class and boundaries."""
    rows = [row for row in table.rows if row.scores.objects]
    if not rows:
        return None
    classes = highlighted(rows[0])
    lines = []
    for row in rows:
        scores = [(row.scores.objects or {}).get(name) for name in classes]
        f1_cells = [
            "- (-)" if o is None else f"{number(o.f1, 2)} ({number(o.recall, 2)})" for o in scores
        ]
        false = None if scores[0] is None else scores[0].false_per_mm2
        surface = row.scores.boundary.mean if row.scores.boundary else None
        border = row.scores.without_border.per_roi.mean if row.scores.without_border else None
        lines.append([row.name, *f1_cells, number(false, 1), number(surface), number(border)])
    columns = ["model", *classes, f"false {classes[0]} / mm2", "surface Dice", "Dice off borders"]
    return Grid("objects and borders", columns, lines)


def highlighted(row: Row) -> list[str]:
    """The classes of the mean, the one that the suite highlights first."""
    wanted = judge.highlight_of(row.result.suite, row.result.preset)
    return sorted(row.scores.classes, key=lambda name: name != wanted)


def promptings(table: Table) -> Grid | None:
    """Every prompting's mean per-class Dice, a column per row of the board; None without any."""
    rows = [row for row in table.rows if row.scores.prompting]
    if not any(row.scores.others for row in rows):
        return None
    scores: dict[str, dict[str, str]] = {}
    ceilings: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: -len(row.scores.others)):  # the suite's own order
        assert row.scores.prompting is not None
        parts = [(row.scores.prompting, row.scores.headline, row.scores.ceiling)]
        parts += [(other.prompting, other.headline, other.ceiling) for other in row.scores.others]
        for prompting, headline, ceiling in parts:
            scores.setdefault(prompting.key, {})[row.name] = mean(headline.per_roi)
            ceilings[prompting.key] = _ceiling(ceiling)
    names = [row.name for row in rows]
    lines = [
        [key, *(cells.get(name, "-") for name in names), ceilings[key]]
        for key, cells in scores.items()
    ]
    heading = "mean per-class Dice (per ROI) by prompting"
    return Grid(heading, ["prompting", *names, "ceiling"], lines)


def _ceiling(ceiling: MeanDice | None) -> str:
    return number(None if ceiling is None else ceiling.mean)


COSTS = (
    "model",
    "weights",
    "budget",
    "steps x batch",
    "parameters",
    "train s",
    "inference s",
    "device",
    "memory GB",
)
REPORTED = {
    "model": "model",
    "label_set": "classes",
    "prompting": "prompting",
    "mean_dice": "mean Dice",
    "n": "n",
    "source": "source",
}


def costs(board: Board) -> Grid | None:
    """One line per run, in the order of the tables."""
    runs: dict[str, Row] = {}
    for row in (row for table in board.tables for row in table.rows):
        runs.setdefault(str(row.folder), row)
    lines = [_cost(row) for row in runs.values()]
    return Grid("what it cost", COSTS, lines, (0, 1, 2, 3, 7)) if lines else None


def _cost(row: Row) -> list[str]:
    cost, training = row.result.cost, row.result.training
    memory = cost.peak_gpu_bytes or cost.peak_host_bytes
    parameters = row.result.parameters.total if row.result.parameters else 0
    return [
        row.name,
        row.result.weights.provenance,
        training.budget or ("own fit" if training.own_fit else "-"),
        f"{training.steps} x {training.batch_size}" if training.steps else "-",
        f"{parameters / 1e6:.1f} M" if parameters else "-",
        number(cost.train_seconds, 0),
        number(sum(cost.inference_seconds.values()), 0),
        f"{cost.device or '-'} {cost.precision or ''}".rstrip(),
        f"{memory / 1e9:.1f}" if memory else "-",
    ]


def _given(value: Any) -> str:
    return "-" if value in (None, "") else str(value)


def reported(board: Board) -> Grid | None:
    """Published numbers with their sources; of single classes, the one that boards show first."""
    if not board.reported:
        return None
    first = next((row for table in board.tables for row in table.rows), None)
    shown = None if first is None else judge.highlight_of(first.result.suite, first.result.preset)
    columns, names = list(REPORTED.values()), list(REPORTED)
    place = names.index("mean_dice") + 1
    if shown:
        columns.insert(place, shown)
    lines = []
    for entry in board.reported:
        cells = [_given(entry.get(name)) for name in names]
        if shown:
            cells.insert(place, _given(entry.get("dice", {}).get(shown)))
        lines.append(cells)
    heading = "Reported elsewhere: never ranked, not measured by this harness"
    return Grid(heading, columns, lines, (0, 1, 2, len(columns) - 1))
