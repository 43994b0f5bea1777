"""``bb.compare``: paired differences on the same ROIs."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbcss import defaults
from benchbcss.board import model
from benchbcss.board.compare import Compared, of_names
from benchbcss.errors import UnknownNameError
from benchbcss.results.index import suite_with_runs

if TYPE_CHECKING:
    import pandas as pd

    from benchbcss.scoring.compare import Comparison as Tested
    from benchbcss.scoring.compare import Difference


@dataclass(frozen=True, repr=False)
class Comparison:
    """What ``benchbcss compare`` says: printed, it is that text; a notebook shows tables.

    ``estimand`` of the methods is one of ``estimands``; None is the first, which is ranked.
    """

    compared: Compared

    @property
    def suite(self) -> str:
        return self.compared.suite

    @property
    def track(self) -> str:
        return self.compared.track

    @property
    def classes(self) -> tuple[str, ...]:
        return self.compared.classes

    @property
    def seeds(self) -> dict[str, tuple[int, ...]]:
        """Behind each name."""
        return self.compared.seeds

    @property
    def estimands(self) -> tuple[str, ...]:
        return tuple(self.compared.estimands)

    def tested(self, estimand: str | None = None) -> Tested:
        """Standings, pairs and wins by one estimand, as ``scoring.compare`` has them."""
        chosen = estimand or self.estimands[0]
        if chosen not in self.compared.estimands:
            raise UnknownNameError("estimand of this track", chosen, self.estimands)
        return self.compared.estimands[chosen]

    def standings(self, estimand: str | None = None) -> pd.DataFrame:
        """One row per name: mean Dice, rank with ties (``rank_from`` to ``rank_to``), the ranks of
        95 % of the resamples, seeds and their spread."""
        import pandas as pd

        lines = []
        for row in self.tested(estimand).standings:
            low, high = row.rank_interval or (None, None)
            lines.append(
                {
                    "name": row.name,
                    "mean_dice": row.point,
                    "rank": row.rank,
                    "rank_from": row.tied[0],
                    "rank_to": row.tied[1],
                    "resampled_from": low,
                    "resampled_to": high,
                    "seeds": len(self.seeds[row.name]),
                    "seed_sd": row.seed_sd,
                }
            )
        frame = pd.DataFrame(lines).set_index("name")
        return frame.astype({"resampled_from": "Int64", "resampled_to": "Int64", "seed_sd": float})

    def differences(self, estimand: str | None = None) -> pd.DataFrame:
        """One row per pair and class ('mean' first): a minus b, its 95 % interval and p-value, and
        for the mean the adjusted p-value and which is ``better`` ('tie' where that is open)."""
        import pandas as pd

        lines = []
        for pair in self.tested(estimand).pairs:
            head = {"a": pair.a, "b": pair.b}
            whole = _line(pair.mean) | {"p_holm": pair.p_holm, "better": pair.verdict}
            lines.append({**head, "class": "mean", **whole, "note": pair.note})
            for name, difference in zip(self.classes, pair.classes, strict=True):
                lines.append({**head, "class": name, **_line(difference)})
        frame = pd.DataFrame(lines)
        numbers = ("difference", "low", "high", "p", "p_holm")
        return frame.astype(dict.fromkeys(numbers, float))

    def wins(self) -> pd.DataFrame:
        """In how many ROIs the row is better than the column."""
        import pandas as pd

        part = self.tested()
        names = [row.name for row in part.standings]
        return pd.DataFrame(list(part.wins), index=names, columns=names)

    def plain(self) -> dict[str, Any]:
        """As data that JSON can hold: what ``benchbcss compare --format json`` writes."""
        return self.compared.plain()

    def __repr__(self) -> str:
        from benchbcss.board.exporters import comparison

        stream = io.StringIO()
        comparison.table(self.compared, stream)
        return stream.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        from benchbcss.board.exporters import comparison, page

        return page.grids(comparison.grids(self.compared), [comparison.LEGEND])


def compare(
    *names: str,
    suite: str | None = None,
    track: str | None = None,
    workspace: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Compare backends, or variants as the board shows them, pairwise on the same ROIs.

    A name is a backend, a variant ("unetpp lr=1e-4"), what was given as ``name`` of a run, or a
    run's id; all seeds of it are taken together. Raises UnknownNameError and InputError.
    """
    from benchbcss.tracks import get

    if track is not None:
        get(track)
    where = defaults.workspace(workspace)
    return Comparison(of_names(model.load(where, suite_with_runs(where, suite), track), names))


def _line(difference: Difference) -> dict[str, Any]:
    return {
        "difference": difference.point,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "rois": difference.rois,
        "effective_rois": difference.effective_rois,
        "no_interval": difference.reason,
    }
