"""``bb.load_run``: a finished run, its tables as pandas objects."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchbcss import defaults
from benchbcss.errors import DataError, InputError, UnknownNameError
from benchbcss.io import parse_json, read_bytes, read_table, verify
from benchbcss.results import store
from benchbcss.results.schema import RunResult, TrackResult

if TYPE_CHECKING:
    import pandas as pd

    from benchbcss.results.spec import RunSpec


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run. ``result`` is its record; the methods read the tables beside it.

    ``track`` of the methods is one of ``tracks``; None is the first that has what is asked for.
    Methods raise DataError for tables that are missing (of an older edition) or damaged.
    """

    path: Path
    result: RunResult

    @cached_property
    def spec(self) -> RunSpec:
        """What was run: suite, split, recipe, weights."""
        return store.load_spec(self.path)

    @property
    def backend(self) -> str:
        return self.result.backend

    @property
    def name(self) -> str:
        """What was given as its name, or ''."""
        return self.result.name

    @property
    def seed(self) -> int:
        return self.result.seed

    @property
    def suite(self) -> str:
        return self.result.suite.name

    @property
    def tracks(self) -> tuple[str, ...]:
        return tuple(self.result.tracks)

    def track(self, name: str | None = None) -> TrackResult:
        """A track's scores as the record holds them. Raises UnknownNameError."""
        return self.result.tracks[self._track(name)]

    def verdicts(self, track: str | None = None) -> pd.DataFrame:
        """One row per criterion of the suite as it is now: label, status, point, reason."""
        import pandas as pd

        from benchbcss.results import judge

        judge.look_again()
        given = judge.verdicts(self.result, self._track(track))
        lines = [(v.label, v.status, v.point or None, v.reason) for v in given]
        return pd.DataFrame(lines, columns=["criterion", "status", "point", "reason"])

    def per_class(self, track: str | None = None, estimand: str = "per_roi") -> pd.DataFrame:
        """Indexed by class: Dice with its 95 % interval, on how many ROIs, whether it counts in the
        mean, and every other metric."""
        import pandas as pd

        from benchbcss.results import judge

        scores = self.track(track)
        estimands = judge.estimands(scores.headline)
        if estimand not in estimands:
            raise UnknownNameError("estimand of this track", estimand, estimands)
        part = estimands[estimand]
        lines = []
        for name in scores.all_classes:
            low, high = part.intervals.get(name) or (None, None)
            metrics = scores.per_class.get(estimand, {})
            dice = part.dice.get(name, metrics.get("dice", {}).get(name))
            lines.append(
                {
                    "class": name,
                    "in_mean": name in scores.classes,
                    "dice": dice,
                    "low": low,
                    "high": high,
                    "no_interval": part.reasons.get(name),
                    "rois_with_class": scores.rois_with_class.get(name),
                    "effective_rois": part.effective_rois.get(name),
                    **{m: values.get(name) for m, values in metrics.items() if m != "dice"},
                }
            )
        numbers = [name for name in lines[0] if name not in ("class", "in_mean", "no_interval")]
        frame = pd.DataFrame(lines).set_index("class")
        return frame.astype(dict.fromkeys(numbers, float) | {"rois_with_class": "Int64"})

    def scores(self, track: str | None = None) -> pd.DataFrame:
        """One row per ROI and class: site, Dice, IoU, precision, recall and what plugins measure;
        NaN where it is undefined. Under the headline prompting, where there are several."""
        import pandas as pd

        table = pd.DataFrame(self._table(f"scores-{self._track(track)}.parquet"))
        table.insert(1, "site", table["roi"].map(self._sites))
        return table

    def rois(self, track: str | None = None) -> pd.DataFrame:
        """Indexed by ROI: site, mean Dice over its classes, and what it adds to the ranked mean
        (``contribution``, ``influence`` and ``share``; see METHODOLOGY)."""
        import pandas as pd

        part = self.track(track)
        scores = self.scores(track)
        counted = scores[scores["class"].isin(part.classes)]
        frame = pd.DataFrame({"site": self._sites})
        frame["mean_dice"] = counted.groupby("roi")["dice"].mean()
        if part.by_roi is not None:
            parts = part.by_roi.model_dump()
            frame = frame.join(pd.DataFrame(parts).set_index("roi").astype(float))
        return frame.rename_axis("roi")

    def confusion(
        self,
        normalise: Literal["truth", "prediction"] | None = None,
        roi: str | None = None,
    ) -> pd.DataFrame:
        """Pixels by true (rows) and predicted class (columns), of all ROIs or of one; with
        ``normalise`` as shares of each true or each predicted class. Ignored pixels are left out.
        """
        import pandas as pd

        if normalise not in (None, "truth", "prediction"):
            raise InputError(f"normalise is 'truth', 'prediction' or None, not {normalise!r}.")
        name = self._having("confusion", "label maps")
        table = pd.DataFrame(self._table("counts.parquet"))
        if "track" in table:  # the first edition kept both tracks in one file
            table = table[(table["track"] == name) & (table["true"] != "ignored")]
        if roi is not None:
            known = list(dict.fromkeys(table["roi"]))
            if roi not in known:
                raise UnknownNameError("scored ROI", roi, known)
            table = table[table["roi"] == roi]
        order = list(dict.fromkeys(table["true"]))
        columns = list(dict.fromkeys(table["predicted"]))
        counts = table.pivot_table("pixels", "true", "predicted", "sum").loc[order, columns]
        if normalise == "truth":
            return counts.div(counts.sum(axis=1), axis=0)
        return counts.div(counts.sum(axis=0), axis=1) if normalise else counts

    def objects(self) -> pd.DataFrame:
        """One row per 8-connected component of truth and prediction: roi, class, side, its size,
        and whether it is matched; see docs/run-folder.md."""
        import pandas as pd

        self._having("objects", "label maps")
        table = pd.DataFrame(self._table("objects.parquet"))
        table["um2"] = table["pixels"] * self.result.mpp**2
        return table

    def object_scores(self) -> pd.DataFrame:
        """Indexed by class: recall, precision and F1 of components, and false ones per mm^2."""
        import pandas as pd

        scores = self.result.tracks[self._having("objects", "label maps")].objects or {}
        apart = {"recall_by_size_um2", "clean_rois_without_class"}
        lines = {name: part.model_dump(exclude=apart) for name, part in scores.items()}
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis("class")

    def history(self) -> pd.DataFrame:
        """Training, indexed by epoch: steps, losses (``loss.NAME``), rates, validation
        (``val_mean_dice``, ``val_dice.CLASS``); empty where the harness's loop did not train."""
        import pandas as pd

        path = self.path / "epochs.jsonl"
        if not path.is_file():
            return pd.DataFrame(index=pd.Index([], name="epoch"))
        verify(path, "Run the command that made it once more.")
        try:
            lines = [parse_json(line) for line in read_bytes(path).decode().splitlines()]
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
        return pd.json_normalize(lines).set_index("epoch")

    @cached_property
    def _sites(self) -> dict[str, str]:
        """ROI -> institute, in the order of the split."""
        table = self._table("rois.parquet")
        return dict(zip(table["roi"], table["site"], strict=True))

    def _table(self, name: str) -> dict[str, Any]:
        return read_table(self.path / name)

    def _track(self, name: str | None) -> str:
        chosen = name or next(iter(self.result.tracks))
        if chosen not in self.result.tracks:
            raise UnknownNameError("track of this run", chosen, self.result.tracks)
        return chosen

    def _having(self, part: str, what: str) -> str:
        """The track that has ``part``. Raises InputError."""
        having = [name for name, t in self.result.tracks.items() if getattr(t, part) is not None]
        if not having:
            raise InputError(f"The run {self.path} predicted no {what}, so it has no {part}.")
        return having[0]

    def __repr__(self) -> str:
        from benchbcss.board import cells

        given = f" '{self.name}'" if self.name else ""
        lines = [f"{self.backend}{given}, seed {self.seed}, suite {self.suite}: {self.path}"]
        for name, part in self.result.tracks.items():
            headline = part.headline.per_roi
            span = cells.interval(headline.mean_interval, headline.mean)
            words = f"mean Dice {cells.number(headline.mean)} {span}".rstrip()
            lines.append(f"  {name}: {words} on {part.rois} ROI{'s' * (part.rois != 1)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from benchbcss.board import cells
        from benchbcss.board.exporters import page

        shown = []
        for name, part in self.result.tracks.items():
            headline = part.headline.per_roi
            span = cells.interval(headline.mean_interval, headline.mean)
            lines = [["mean", cells.mean(headline), span, ""]]
            for label in part.classes:
                dice = headline.dice.get(label)
                span = cells.interval(headline.intervals.get(label), dice)
                rois = str(part.rois_with_class.get(label, "-"))
                lines.append([label, cells.number(dice), span, rois])
            title = f"{self.backend} {self.name} seed {self.seed}, {self.suite} / {name}"
            columns = ["class", "Dice", "95 %", "ROIs with it"]
            shown.append((cells.Grid(" ".join(title.split()), columns, lines), [cells.ESTIMANDS]))
        return page.grids(shown)


def load_run(
    run: str | os.PathLike[str], *, workspace: str | os.PathLike[str] | None = None
) -> Run:
    """Open a finished run: a backend with one run, a run's given name, its id, SUITE/BACKEND/ID or
    its folder. Raises UnknownNameError, InputError where several are meant, and DataError where the
    record cannot be read."""
    from benchbcss.runs.stored import find_finished

    path = find_finished(os.fspath(run), defaults.workspace(workspace))
    return Run(path, store.load(path))
