"""The five questions that a reader comes with, answered for one table in a screen.

Which model is best, is it certain, where does it fail, did training go well, what did it cost:
every number is the board's, every judgement a verdict's or a test's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchbcss.board import cells, summary
from benchbcss.board.model import Row, Table
from benchbcss.report.cost import total_seconds
from benchbcss.scoring.verdicts import PASS, unmet
from benchbcss.tracks.base import number

GOOD, BAD, OPEN = "good", "bad", "open"


@dataclass(frozen=True)
class Answer:
    """A ``question``, its answer in a few words (``short``) with its ``mood`` (good, bad, open or
    none), and what stands behind it."""

    question: str
    short: str
    lines: Sequence[str] = ()
    mood: str = ""


def answers(table: Table) -> list[Answer]:
    """Of a table without ranked rows, what can be said of its best row."""
    ranked = table.ranked
    best = ranked[0] if ranked else next((row for row in table.rows if not row.floor), None)
    if best is None:
        return [Answer("Which model is best?", "no model yet", [summary.sentence(table)])]
    return [
        _best(table, best),
        _certain(table, best, ranked),
        _fails(table, best),
        _trained(table, best),
        _cost(table, best),
    ]


def _best(table: Table, best: Row) -> Answer:
    part = best.scores.headline.per_roi
    span = cells.interval(part.mean_interval, part.mean)
    lines = [f"mean Dice {number(part.mean)} {span}".rstrip()]
    if best.verdicts:
        open_ = unmet(best.verdicts)
        met = sum(v.status == PASS for v in best.verdicts)
        lines.append(
            f"{met} of {met + len(open_)} criteria met"
            if met + len(open_)
            else "no criterion applies"
        )
        lines += [f"{v.label}: {v.status}" for v in open_]
    if best.rank is None:
        return Answer(
            "Which model is best?",
            "nothing is ranked",
            [best.not_ranked or "", f"{best.name}: {lines[0]}"],
            OPEN,
        )
    passes = any(v.status == PASS for v in best.verdicts)
    if part.mean is None:
        return Answer("Which model is best?", "not known", [part.mean_reason or "no mean"], OPEN)
    mood = GOOD if passes and not unmet(best.verdicts) else ""
    level = summary.lead(table.ranked).level if len(table.ranked) > 1 else [best]
    if len(level) > 1:
        lines.insert(0, f"{best.name}:")
    return Answer("Which model is best?", summary.names(level), lines, mood)


def _certain(table: Table, best: Row, ranked: Sequence[Row]) -> Answer:
    question = "Is it certain?"
    if best.scores.headline.per_roi.mean is None:
        return Answer(question, "nothing to compare", ["no model has a mean Dice"], OPEN)
    if len(ranked) < 2:
        return Answer(question, "nothing to compare with", ["a single ranked result"], OPEN)
    lead = summary.lead(ranked)
    lines = [line for line in (lead.gap, lead.finding) if line]
    if lead.certain is None:
        return Answer(question, "not known", lines, OPEN)
    if lead.certain:
        return Answer(question, "yes", lines, GOOD)
    if len(lead.sharing) == 1:
        return Answer(question, "not of all", lines, OPEN)
    lines.append(f"rank 1: {summary.names(lead.sharing)}")
    if summary.untestable(table):  # the warning below says why
        lines.append(f"too few ROIs to tell {len(ranked)} models apart")
    return Answer(question, f"no: {len(lead.sharing)} share rank 1", lines, OPEN)


def _fails(table: Table, best: Row) -> Answer:
    part = best.scores.headline.per_roi
    known = sorted(
        (value, name) for name in best.scores.classes if (value := part.dice.get(name)) is not None
    )
    lines = [f"next worst: {name} {number(value)}" for value, name in known[1:2]]
    confused = best.scores.confusion.most_confused if best.scores.confusion else []
    lines += list(confused[:2])
    spread = best.scores.spread
    if spread and spread.worst:
        lines.append(f"worst ROI: {number(spread.worst[0].mean_dice)}")
    floor = summary.best_floor(table)
    if floor is not None and best.sort_value() <= floor.sort_value():
        lines.insert(0, f"not above the floor {floor.name} ({number(floor.sort_value())})")
    if not known:
        return Answer("Where does it fail?", "no class has ground truth", lines, OPEN)
    value, name = known[0]
    return Answer("Where does it fail?", f"{name}: Dice {number(value)}", lines)


def _trained(table: Table, best: Row) -> Answer:
    question = "Did training go well?"
    states: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.result.stability is not None and not row.floor:
            states.setdefault(row.result.stability.status, []).append(row)
    other = [
        f"{status}: {summary.names(rows)}"
        for status, rows in states.items()
        if status not in ("stable", "not applicable")
    ]
    trapped = [row for row in table.rows if row.result.training.monitor == "any_tissue_dice"]
    if trapped:
        other.append(f"weights chosen by any-tissue Dice, which misleads: {summary.names(trapped)}")
    stability = best.result.stability
    if stability is None or stability.status == "not applicable":
        return Answer(question, f"{best.name} was not trained here", other)
    note = [stability.note] if stability.note else []
    good = stability.status == "stable"
    lines = [f"{best.name}: {stability.reason}", *note, *other]
    return Answer(
        question, stability.status, lines, GOOD if good and not note else (OPEN if good else BAD)
    )


def _cost(table: Table, best: Row) -> Answer:
    cost = best.result.cost
    seconds = total_seconds(best)
    short = "not recorded" if seconds is None else duration(seconds)
    lines = [f"for {best.name}:"]
    if cost.train_seconds:
        lines.append(f"training {duration(cost.train_seconds)}")
    if predicted := cost.inference_seconds.get(best.track):
        lines.append(f"prediction {duration(predicted)}")
    memory = cost.peak_gpu_bytes or cost.peak_host_bytes
    if memory:
        lines.append(f"{memory / 1e9:.1f} GB {'GPU' if cost.peak_gpu_bytes else 'host'} memory")
    if best.result.parameters:
        lines.append(f"{best.result.parameters.total / 1e6:.1f} M parameters")
    if cost.device:
        lines.append(f"on {cost.device}")
    return Answer("What did it cost?", short, lines if lines[1:] else [])


def duration(seconds: float) -> str:
    """'35 s', '12 min', '3.4 h'."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
