"""What a leaderboard says, typed: comparable rows, what stands apart, failures.

Imports neither torch nor pandas.
"""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss import garbage
from benchbcss.board import unfinished, variants
from benchbcss.board.unfinished import Failure, Unfinished
from benchbcss.errors import DataError, UnknownNameError
from benchbcss.results import judge
from benchbcss.results.index import Index
from benchbcss.scoring.verdicts import Verdict
from benchbcss.tracks import TRACKS, Track

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult, TrackResult

#: metric, label and status of every verdict of a row: of ten thousand rows there are few kinds
Outcome = tuple[tuple[str, str, str], ...]

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


@dataclass
class Row:
    """One track of one finished run; ``rank`` is None for floors and what is never ranked."""

    result: RunResult
    track: str
    folder: Path | str  # of the run
    rank: int | None = None
    tied: tuple[int, int] | None = None  # the ranks it shares with what it cannot be told from
    digest: str = ""  # SHA-256 of the record's file
    variant: str = ""  # tells runs of one backend and seed apart: 'lr=1e-4', or their given name

    @property
    def run(self) -> Path:
        return Path(self.folder)

    @property
    def backend(self) -> str:
        return self.result.backend

    @property
    def seed(self) -> int:
        return self.result.seed

    @property
    def floor(self) -> bool:
        return self.result.floor

    @property
    def name(self) -> str:
        """Backend, seed unless 0, and what differs where a backend has several runs of one seed."""
        variant = f" {self.variant}" if self.variant else ""
        evaluated = " (evaluated)" if self.result.evaluated else ""
        return self.backend + (f" s{self.seed}" if self.seed else "") + variant + evaluated

    @property
    def not_ranked(self) -> str | None:
        """Why no result of this suite is ranked, or None."""
        flawed = "the suite has known flaws, listed below" if self.result.suite.flaws else None
        return self.result.label_map.not_ranked or flawed

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Of the suite's criteria as they are now."""
        return judge.verdicts(self.result, self.track)

    @cached_property
    def scores(self) -> TrackResult:
        return self.result.tracks[self.track]

    @cached_property
    def outcome(self) -> Outcome:
        return tuple([(v.metric, v.label, v.status) for v in self.verdicts])

    @property
    def key(self) -> dict[str, Any]:
        """The values of ``COMPARABLE``."""
        key = dict(zip(COMPARABLE, self.comparable, strict=True))
        prompting = key["prompting"]
        return {**key, "prompting": None if prompting is None else dict(prompting)}

    @cached_property
    def comparable(self) -> tuple[Any, ...]:
        """``key`` as one that a mapping can have."""
        result, prompting = self.result, self.scores.prompting
        return (
            result.suite.fingerprint,
            result.label_map.fingerprint,
            result.split.fingerprint,
            result.data.fingerprint,
            result.preset,
            result.protocol,
            result.mpp,
            None if prompting is None else tuple(vars(prompting).items()),
            result.split.scored,
            result.metrics_version,
        )

    @property
    def rank_text(self) -> str:
        """'2', '1-3' where the rank is shared, '' for what is not ranked."""
        if self.rank is None:
            return ""
        first, last = self.tied or (self.rank, self.rank)
        return str(first) if first == last else f"{first}-{last}"

    def sort_value(self) -> float:
        """Mean per-class Dice by the ``per_roi`` estimand: every track has it."""
        value = self.scores.headline.per_roi.mean
        return -1.0 if value is None else value


@dataclass
class Table:
    """The comparable rows of one suite and track, best first, and what stands apart. ``hidden``
    are rows that were not asked for; ranks are those among all."""

    suite: str
    track: Track
    rows: list[Row]
    not_comparable: list[tuple[Row, str]] = field(default_factory=list)
    hidden: list[Row] = field(default_factory=list)

    @cached_property
    def judged(self) -> list[Row]:
        """Those of ``rows``, when all are there, that are no floors and have criteria."""
        return [row for row in self.rows if not row.floor and row.outcome]

    @cached_property
    def outcomes(self) -> dict[Outcome, list[Row]]:
        return by_outcome(self.judged)

    @property
    def ranked(self) -> list[Row]:
        """Best first, with those that are hidden."""
        rows = [row for row in (*self.rows, *self.hidden) if row.rank is not None]
        return sorted(rows, key=lambda row: row.rank or 0) if self.hidden else rows


def by_outcome(rows: Iterable[Row]) -> dict[Outcome, list[Row]]:
    """Rows whose criteria stand alike."""
    kinds: dict[Outcome, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.outcome, []).append(row)
    return kinds


@dataclass(frozen=True)
class NotMeasured:
    """A track that a finished run could not be measured in."""

    suite: str
    backend: str
    run: str
    track: str
    reason: str


#: parts of a board that are shown on demand
SECTIONS = ("details", "costs", "promptings", "reported")


@dataclass
class Board:
    """Everything a leaderboard shows. ``sections``: which of ``SECTIONS`` were asked for; formats
    for programs and pages hold them all."""

    tables: list[Table]
    failures: list[Failure]
    unreadable: list[str]
    not_measured: list[NotMeasured] = field(default_factory=list)
    reported: list[dict[str, Any]] = field(default_factory=list)  # published elsewhere
    unfinished: list[Unfinished] = field(default_factory=list)
    sections: frozenset[str] = frozenset()

    @property
    def rows(self) -> list[Row]:
        return [row for table in self.tables for row in table.rows]


@garbage.put_off()
def load(
    workspace: Path,
    suite: str | None = None,
    track: str | None = None,
    seed: int | None = None,
    *,
    ties: bool = True,
    glance: bool = False,
) -> Board:
    """Read every run under ``workspace/runs``; a torn or foreign file is listed, not fatal. What is
    left out by ``suite``, ``track`` or ``seed`` takes no part in the ranking. Without ``ties`` no
    row says which ranks are shared, for those who show none. At a ``glance``, records that were
    read before are glances (see ``results.glance``): for those who ask little of many."""
    rows: list[Row] = []
    results: list[RunResult] = []
    lost: list[Path] = []
    board = Board([], [], [])
    judge.look_again()
    index = Index(workspace, glance=glance)
    for run in index.runs(suite):
        try:
            read = index.read(run)
        except DataError as error:
            board.unreadable.append(str(error))
            continue
        if read is None:
            run_dir = index.root / run
            if seed is None or unfinished.identity(run_dir).seed == seed:
                lost.append(run_dir)
            continue
        result, digest = read
        if seed not in (None, result.seed):
            continue
        results.append(result)
        folder = f"{index.root}/{run}"  # a path takes longer to make, and few are asked for
        rows += [
            Row(result, name, folder, digest=digest)
            for name in result.tracks
            if track in (None, name)
        ]
        board.not_measured += [
            NotMeasured(result.suite.name, result.backend, folder, name, reason)
            for name, reason in result.not_measured.items()
            if track in (None, name)
        ]
    index.close(complete=suite is None)
    _without_result(board, lost, results)
    groups: dict[tuple[str, int], list[Row]] = {}
    order = list(TRACKS)
    for row in rows:
        groups.setdefault((row.result.suite.name, order.index(row.track)), []).append(row)
    board.tables = [
        _table(name, TRACKS[order[place]], group) for (name, place), group in sorted(groups.items())
    ]
    if ties:
        from benchbcss.board.ties import share_ranks
        from benchbcss.memo import Memo

        memo = Memo(workspace / ".ties.memo")
        for table in board.tables:
            share_ranks(table, memo)
    return board


def of_backends(board: Board, backends: Sequence[str]) -> list[Row]:
    """The comparable rows of ``backends`` (all for none). Raises UnknownNameError for one without a
    result."""
    rows = board.rows
    _must_know(backends, {row.backend for row in rows})
    return [row for row in rows if not backends or row.backend in backends]


def only(board: Board, backends: Sequence[str]) -> Board:
    """What the board says of ``backends`` (everything for none); ranks stay those among all. Raises
    UnknownNameError for one that has neither a result nor a failure."""
    if not backends:
        return board
    apart = [row for table in board.tables for row, _ in table.not_comparable]
    listed: list[Any] = [*board.rows, *apart, *board.failures, *board.unfinished]
    _must_know(backends, {item.backend for item in (*listed, *board.not_measured)})
    tables = []
    for table in board.tables:
        rows = [row for row in table.rows if row.backend in backends]
        others = [pair for pair in table.not_comparable if pair[0].backend in backends]
        hidden = [row for row in table.rows if row.backend not in backends]
        if rows or others:
            tables.append(Table(table.suite, table.track, rows, others, hidden))
    return replace(
        board,
        tables=tables,
        failures=[item for item in board.failures if item.backend in backends],
        unfinished=[item for item in board.unfinished if item.backend in backends],
        not_measured=[item for item in board.not_measured if item.backend in backends],
    )


def _must_know(backends: Sequence[str], known: set[str]) -> None:
    for name in backends:
        if name not in known:
            raise UnknownNameError("result of backend", name, known, "Run it first.")


def _without_result(board: Board, run_dirs: Iterable[Path], results: Sequence[RunResult]) -> None:
    """Failed and unfinished runs, newest first, without those that a later result replaces."""
    finished: dict[Any, dict[unfinished.Identity, float]] = {}
    for run_dir in run_dirs:
        item = unfinished.look(run_dir)
        if item is None:
            continue
        if not finished:
            finished = _finished(results)
        lost = unfinished.identity(run_dir)
        later = finished.get(lost[:4], {}).items()
        if any(made >= int(item.when) and one.replaces(lost) for one, made in later):
            continue
        if isinstance(item, Failure):
            board.failures.append(item)
        else:
            board.unfinished.append(item)
    board.failures.sort(key=lambda item: -item.when)
    board.unfinished.sort(key=lambda item: -item.when)


def _finished(results: Sequence[RunResult]) -> dict[Any, dict[unfinished.Identity, float]]:
    """When the last result of each was made, by suite, backend, seed and name."""
    finished: dict[Any, dict[unfinished.Identity, float]] = {}
    for result in results:
        key = unfinished.Identity(
            result.suite.name,
            result.backend,
            result.seed,
            result.name,
            result.preset,
            result.evaluated,
        )
        try:
            made = calendar.timegm(time.strptime(result.created, "%Y-%m-%dT%H:%M:%SZ"))
        except ValueError:
            continue
        times = finished.setdefault(key[:4], {})
        times[key] = max(times.get(key, 0.0), made)
    return finished


def _table(suite: str, track: Track, group: list[Row]) -> Table:
    """Split a group by comparability; the largest set of comparable rows is ranked.

    Among equally large sets the one with the newest result wins.
    """
    sizes = Counter([row.comparable for row in group])
    chosen = next(iter(sizes))
    if len(sizes) > 1:
        newest: dict[tuple[Any, ...], str] = {}
        for row in group:
            newest[row.comparable] = max(newest.get(row.comparable, ""), row.result.created)
        chosen = max(sizes, key=lambda key: (sizes[key], newest[key]))
    reference = next(row for row in group if row.comparable == chosen)
    table = Table(suite, track, [])
    for row in group:
        if row.comparable == chosen:
            table.rows.append(row)
        else:
            table.not_comparable.append((row, _difference(row, reference)))
    variants.tell_apart(table.rows)
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
