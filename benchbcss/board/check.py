"""Whether named backends meet the suite's criteria."""

from __future__ import annotations

from collections.abc import Sequence

from benchbcss.board.model import Board, of_backends


def unmet(board: Board, backends: Sequence[str] = ()) -> list[str]:
    """Sentences on every criterion that is not 'pass'; empty when all are met.

    Without names, the best backend of each table is judged. A criterion may be met in either
    track of a backend's suite only where that track judges it; no result at all is unmet too.
    """
    of_backends(board, backends)
    problems = []
    judged = 0
    for table in board.tables:
        ranked = [row for row in table.rows if row.rank is not None]
        chosen = [row for row in table.rows if row.backend in backends] if backends else ranked[:1]
        for row in chosen:
            judged += 1
            problems += [
                f"{row.backend} ({table.suite}, {table.track.name}): {verdict.label}: "
                f"{verdict.status}, {verdict.reason}"
                for verdict in row.verdicts
                if verdict.status != "pass"
            ]
    if not judged:
        problems.append("there is no ranked result to judge; run a backend first")
    return problems
