"""Whether named backends meet the suite's criteria."""

from __future__ import annotations

from collections.abc import Sequence

from benchbcss.board.model import Board, Row, of_backends
from benchbcss.scoring.verdicts import over_tracks
from benchbcss.scoring.verdicts import unmet as not_met


def unmet(board: Board, backends: Sequence[str] = ()) -> list[str]:
    """Sentences on every criterion that stops ``--check``; empty when all are met.

    A backend is judged over both tracks where it has both; a criterion that no track of it can have
    is not applicable and stops nothing. Without names, the best backend of each table is judged;
    no result at all is unmet too, and so is a named one whose results all stand apart.
    """
    apart = _apart(board, backends)
    of_backends(board, [name for name in backends if name not in apart])
    chosen: dict[tuple[str, str, int, str, bool], dict[str, Row]] = {}
    for table in board.tables:
        ranked = [row for row in table.rows if row.rank is not None]
        for row in [r for r in table.rows if r.backend in backends] if backends else ranked[:1]:
            suite, evaluated = row.result.suite.name, row.result.evaluated
            key = (row.backend, suite, row.seed, row.variant, evaluated)
            chosen.setdefault(key, {})[row.track] = row
    problems = []
    for (_, suite, *_), rows in chosen.items():
        joined = over_tracks({track: row.verdicts for track, row in rows.items()})
        name, tracks = next(iter(rows.values())).name, " and ".join(rows)
        problems += [
            f"{name} ({suite}, {tracks}): {verdict.label}: {verdict.status}, {verdict.reason}"
            for verdict in not_met(joined)
        ]
    problems += [text for texts in apart.values() for text in texts]
    if not chosen and not apart:
        problems.append("there is no ranked result to judge; run a backend first")
    return problems


def _apart(board: Board, backends: Sequence[str]) -> dict[str, list[str]]:
    """Sentences on the results of each of ``backends`` that has no comparable one."""
    comparable = {row.backend for row in board.rows}
    sentences: dict[str, list[str]] = {}
    for table in board.tables:
        for row, why in table.not_comparable:
            if row.backend in backends and row.backend not in comparable:
                sentences.setdefault(row.backend, []).append(
                    f"{row.name} ({table.suite}, {row.track}): not judged, since it is not "
                    f"comparable: {why}"
                )
    return sentences
