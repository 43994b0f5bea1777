"""``bb.sweep``: try settings, choose by validation, score only the chosen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from benchbcss import defaults
from benchbcss.api.boards import Leaderboard, leaderboard
from benchbcss.api.loaded import Run, load_run
from benchbcss.api.running import PathLike, _positive, _refuse_unknown, _say, _seconds
from benchbcss.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.launch import Launch
    from benchbcss.runs.sweep import Swept, Validated


class SweepOptions(TypedDict, total=False):
    """What ``sweep`` takes beside the most common: as the options of ``benchbcss sweep``; ``quiet``
    prints no progress."""

    device: Literal["auto", "cpu", "cuda"]
    jobs: int
    timeout: float | None
    floors: bool
    fresh: bool
    quiet: bool


@dataclass(frozen=True)
class Sweep:
    """Every setting that a sweep tried with its validation, and the runs of those it chose."""

    swept: Swept
    suite: str
    workspace: Path

    @property
    def settings(self) -> tuple[Validated, ...]:
        """In the file's order; each has ``candidate.setting``, ``mean``, ``sd``, ``scores`` by seed
        and ``chosen``."""
        return self.swept.items

    @property
    def chosen(self) -> list[Validated]:
        return self.swept.best

    def load(self) -> list[Run]:
        """The finished runs of the chosen settings, one per seed, opened."""
        specs = [spec for runs in self.swept.finals for spec in runs]
        folders = [spec.run_dir(self.workspace) for spec in specs]
        return [load_run(folder, workspace=self.workspace) for folder in folders]

    def leaderboard(self) -> Leaderboard:
        """The board of the suite, with all that the workspace holds of it."""
        return leaderboard(suite=self.suite, workspace=self.workspace)

    def to_pandas(self) -> pd.DataFrame:
        """One row per setting, the best first: backend, setting, weights, mean validation Dice, its
        standard deviation over seeds (NaN for one), number of seeds, whether it was chosen."""
        import pandas as pd

        columns = ["backend", "setting", "weights", "validation", "sd", "seeds", "chosen"]
        lines = [
            (
                item.candidate.setting.backend,
                item.candidate.setting.label,
                item.candidate.setting.weights,
                item.mean,
                float("nan") if item.sd is None else item.sd,
                len(item.scores),
                item.chosen,
            )
            for item in sorted(self.settings, key=lambda item: -item.mean)
        ]
        return pd.DataFrame(lines, columns=columns)

    def __repr__(self) -> str:
        lines = [
            f"sweep '{self.swept.made.name}' of {len(self.settings)} settings on the suite "
            f"'{self.suite}' in {self.workspace}"
        ]
        for item in sorted(self.settings, key=lambda item: -item.mean):
            mark = ", chosen" if item.chosen else ""
            lines.append(f"  {item.candidate.setting.title}: validation {item.mean:.3f}{mark}")
        return "\n".join(lines)


def sweep(
    file: PathLike,
    *,
    data: PathLike | None = None,
    workspace: PathLike | None = None,
    **options: Unpack[SweepOptions],
) -> Sweep:
    """Try the settings of ``file`` (YAML), choose by validation alone and score the chosen on the
    test ROIs, as ``benchbcss sweep`` does; what is done already is kept.

    ``data`` is a folder laid out as BCSS (without it the phantom). More options: ``SweepOptions``.
    Raises InputError before anything is started, and RunError where runs failed: nothing is chosen
    then.
    """
    from benchbcss.runs import grids, launch
    from benchbcss.runs import sweep as sweeps

    _refuse_unknown(sweep, options, SweepOptions)
    say = _say(options.get("quiet", False))
    path = Path(os.fspath(file))
    made = grids.read(path)
    device = options.get("device", "auto")
    how = launch.Launch(
        defaults.workspace(workspace),
        made.suite,
        defaults.data(data),
        made.split,
        made.preset,
        timeout=_seconds(options.get("timeout")),
        fresh=options.get("fresh", False),
        jobs=_positive("jobs", options.get("jobs", 1)),
    )
    prepared = launch.prepare(how, say)
    candidates = sweeps.plan(made, path, prepared, device, how.workspace)

    def carry(specs: Sequence[RunSpec], beside: Sequence[RunSpec], launched: Launch) -> bool:
        outcomes = launch.carry_out([*specs, *beside], launched, say)
        if failed := launch.failures(outcomes):
            reasons = "; ".join(
                f"{o.spec.backend} seed {o.spec.seed}: {o.reason}"
                for o in outcomes
                if o.status == "failed"
            )
            raise RunError(f"{failed}. Nothing is chosen before all have ended. {reasons}")
        return True

    swept = sweeps.conduct(
        *(made, candidates, prepared, how, carry),
        device=device,
        floors=options.get("floors", True),
        say=say,
    )
    assert swept is not None  # runs on this machine have ended when they return
    return Sweep(swept, prepared.suite.name, how.workspace)
