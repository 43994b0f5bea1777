"""What stands in a board's tables, as text: shared by every exporter that shows tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbcss.board.model import Board, Row, Table
from benchbcss.results import judge
from benchbcss.results.schema import Bounds, MeanDice
from benchbcss.tracks.base import number
from benchbcss.tracks.semantic import mean_cell

MARKS = {"pass": "pass", "fail": "FAIL"}
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
    """A table of text; ``left`` are the columns aligned left."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)


def scores(table: Table) -> Grid:
    """Rank, backend, view, mean with its interval, and the columns of the track."""
    columns = table.track.columns([row.scores for row in table.rows])
    lines = []
    for row in table.rows:
        headline = row.scores.headline.per_roi
        lines.append(
            [
                row.rank_text,
                row.name + (" (floor)" if row.floor else ""),
                row.scores.view,
                mean_cell(headline),
                interval(headline.mean_interval),
                *(column.cell(row.scores) for column in columns),
            ]
        )
    names = ["#", "backend", "view", "mean (per ROI)", "95 %", *(c.title for c in columns)]
    return Grid(title(table), names, lines, (1, 2))


def interval(bounds: Bounds | None) -> str:
    return "" if bounds is None else f"[{bounds[0]:.2f}, {bounds[1]:.2f}]"


def title(table: Table) -> str:
    text = f"{table.suite} / {table.track.name}"
    first = table.rows[0] if table.rows else None
    prompting = first.scores.prompting if first else None
    if prompting:
        combined = "by vote" if prompting.views == "vote" else "averaged"
        views = f", four views {combined}" if prompting.tta else ""
        text += f" by {prompting.strategy}, {prompting.scope}{views}"
    if first and first.result.split.scored == "val":
        text += " (validation ROIs)"
    return text


def notes(table: Table) -> list[str]:
    """What a reader must know beside the numbers."""
    found = [ESTIMANDS]
    if any(row.result.data.phantom for row in table.rows):
        found.append(PHANTOM)
    for why in sorted({row.not_ranked for row in table.rows if row.not_ranked}):
        found.append(f"never ranked: {why}")
    for flaw in table.rows[0].result.suite.flaws if table.rows else []:
        found.append(f"flaw: {flaw}")
    found.append(table.track.caveat)
    if any(row.tied and row.tied[0] != row.tied[1] for row in table.rows):
        found.append(
            "ranks such as 1-3 are shared: these models cannot be told apart (benchbcss compare)"
        )
    if any(row.scores.ceiling for row in table.rows):
        found.append(
            "ceiling: what a perfect outline of the part pointed at scores against the class"
        )
    others = max((len(row.scores.others) for row in table.rows), default=0)
    if others:
        found.append(f"{others} other promptings: benchbcss leaderboard --promptings")
    return found


def verdicts(table: Table) -> Grid | None:
    """The suite's criteria, one column each; None where nothing is judged."""
    rows = judged(table)
    if not rows:
        return None
    columns = ["backend", *(verdict.label for verdict in rows[0].verdicts)]
    lines = [
        [
            row.name,
            *(
                MARKS.get(v.status, v.status) + (f" ({v.point})" if v.point else "")
                for v in row.verdicts
            ),
        ]
        for row in rows
    ]
    return Grid("success criteria", columns, lines, range(len(columns)))


def judged(table: Table) -> list[Row]:
    return [row for row in table.rows if not row.floor and row.verdicts]


def reasons(table: Table) -> list[str]:
    """Why criteria that are no number have failed or were not measured."""
    return [
        f"{row.name}: {verdict.label}: {verdict.reason}"
        for row in judged(table)
        for verdict in row.verdicts
        if verdict.status in ("not measured", "fail")
        and verdict.metric in ("clip_accuracy", "stability")
    ]


def monitored(table: Table) -> list[str]:
    """What validation said where it watched the metric that misleads."""
    found = []
    for row in table.rows:
        training = row.result.training
        best, honest = training.best_validation, training.best_mean_dice
        if training.monitor == "any_tissue_dice" and best is not None and honest:
            found.append(
                f"{row.name}: its weights were chosen by any-tissue Dice, {best:.3f} in "
                f"validation; per class that was {honest:.3f}"
            )
    return found


def warnings(table: Table) -> list[str]:
    """The trap in words, for each row that is in it."""
    found = [
        f"{row.name}: {row.scores.tissue.warning}"
        for row in table.rows
        if not row.floor and row.scores.tissue and row.scores.tissue.warning
    ]
    return [*found, *_below_floors(table)]


def _below_floors(table: Table) -> list[str]:
    """A model that does not reach a floor has learnt nothing that the floor does not know."""
    floors = [
        row for row in table.rows if row.floor and row.scores.headline.per_roi.mean is not None
    ]
    if not floors:
        return []
    best = max(floors, key=Row.sort_value)
    return [
        f"{row.name}: {number(row.scores.headline.per_roi.mean)} is not above the floor "
        f"{best.name}, {number(best.sort_value())}"
        for row in table.rows
        if not row.floor and row.sort_value() <= best.sort_value()
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
        found = [
            "- (-)" if o is None else f"{number(o.f1, 2)} ({number(o.recall, 2)})" for o in scores
        ]
        false = None if scores[0] is None else scores[0].false_per_mm2
        surface = row.scores.boundary.mean if row.scores.boundary else None
        border = row.scores.without_border.per_roi.mean if row.scores.without_border else None
        lines.append([row.name, *found, number(false, 1), number(surface), number(border)])
    columns = ["backend", *classes, f"false {classes[0]} / mm2", "surface Dice", "Dice off borders"]
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
            scores.setdefault(prompting.key, {})[row.name] = mean_cell(headline.per_roi)
            ceilings[prompting.key] = _ceiling(ceiling)
    names = [row.name for row in rows]
    lines = [
        [key, *(cells.get(name, "-") for name in names), ceilings[key]]
        for key, cells in scores.items()
    ]
    heading = f"{table.suite} / {table.track.name}: mean per-class Dice (per ROI) by prompting"
    return Grid(heading, ["prompting", *names, "ceiling"], lines)


def _ceiling(ceiling: MeanDice | None) -> str:
    return number(None if ceiling is None else ceiling.mean)


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


def costs(board: Board) -> Grid | None:
    """One line per run, in the order of the tables."""
    runs: dict[Path, Row] = {}
    for row in (row for table in board.tables for row in table.rows):
        runs.setdefault(row.run, row)
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
