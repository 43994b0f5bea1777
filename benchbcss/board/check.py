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
    no result at all is unmet too.
    """
    of_backends(board, backends)
    chosen: dict[tuple[str, str, int, str], dict[str, Row]] = {}
    for table in board.tables:
        ranked = [row for row in table.rows if row.rank is not None]
        for row in [r for r in table.rows if r.backend in backends] if backends else ranked[:1]:
            key = (row.backend, row.result.suite.name, row.seed, row.variant)
            chosen.setdefault(key, {})[row.track] = row
    problems = []
    for (_, suite, _, _), rows in chosen.items():
        joined = over_tracks({track: row.verdicts for track, row in rows.items()})
        name, tracks = next(iter(rows.values())).name, " and ".join(rows)
        problems += [
            f"{name} ({suite}, {tracks}): {verdict.label}: {verdict.status}, {verdict.reason}"
            for verdict in not_met(joined)
        ]
    if not chosen:
        problems.append("there is no ranked result to judge; run a backend first")
    return problems
