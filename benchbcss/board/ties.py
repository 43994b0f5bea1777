"""Which ranked rows cannot be told from one another: they share their ranks on the board.

By the same tests as ``benchbcss compare``, over all pairs of ranked rows, from what each record
holds of its ROIs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from benchbcss.board.model import Row, Table
from benchbcss.memo import Memo
from benchbcss.results import provenance

if TYPE_CHECKING:
    import numpy as np

    from benchbcss.scoring.influence import Influence

MOST = 40  # rows; pairs grow as their square


def share_ranks(table: Table, memo: Memo) -> None:
    """Set ``tied`` (first, last rank) of every ranked row; None where it cannot be said: records of
    older editions, and tables of more than ``MOST`` ranked rows.

    ``memo`` knows it of rows that were compared before, without numpy or scipy."""
    ranked = [row for row in table.rows if row.rank is not None]
    if not 2 <= len(ranked) <= MOST:
        return
    for row, span in zip(ranked, memo.answer(_key(ranked), lambda: _said(ranked)), strict=False):
        row.tied = (span[0], span[1])


def _key(ranked: Sequence[Row]) -> str:
    """Digest of all that ``_spans`` follows from: records, and the code that compares them."""
    content = [provenance.scoring_digest(), *([row.track, row.digest] for row in ranked)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _said(ranked: Sequence[Row]) -> list[tuple[int, int]]:
    """[] where it cannot be said."""
    if any(row.scores.by_roi is None for row in ranked):
        return []
    return _spans(ranked)


def _spans(ranked: Sequence[Row]) -> list[tuple[int, int]]:
    import numpy as np

    from benchbcss.scoring.compare import tied_ranks

    points = np.array([row.sort_value() for row in ranked])
    return tied_ranks(points, _apart(ranked))


def _apart(rows: Sequence[Row]) -> np.ndarray:
    """bool [K, K]: which rows differ, p adjusted by Holm over all pairs."""
    import numpy as np

    from benchbcss.scoring.compare import ALPHA, differences, holm

    influences = [_influence(row) for row in rows]
    pairs = list(combinations(range(len(rows)), 2))
    p_values = [differences(influences[a], influences[b], [0])[-1].p for a, b in pairs]
    tested = [(pair, p) for pair, p in zip(pairs, p_values, strict=True) if p is not None]
    apart = np.zeros((len(rows), len(rows)), bool)
    for ((a, b), _), p in zip(tested, holm([p for _, p in tested]), strict=True):
        apart[a, b] = apart[b, a] = p < ALPHA
    return apart


def _influence(row: Row) -> Influence:
    """Of the ranked mean, as one class [ROI, 1]."""
    import numpy as np

    from benchbcss.scoring.influence import Influence

    parts = row.scores.by_roi
    assert parts is not None
    share = np.array(parts.share)[:, None]
    point = np.array([row.sort_value()])
    psi = np.array([np.nan if v is None else v for v in parts.influence])[:, None]
    residual = np.array(parts.contribution)[:, None] - share * point
    rois = np.array([int((share > 0).sum())])
    return Influence(point, psi, residual, share, rois, np.zeros(1))
