"""``bb.run`` and ``bb.score``: carry runs out, and score label maps made elsewhere."""

from __future__ import annotations

import difflib
import inspect
import json
import operator
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from benchbcss import defaults
from benchbcss.api.boards import Leaderboard, leaderboard
from benchbcss.api.loaded import Run, load_run
from benchbcss.errors import InputError, RunError

if TYPE_CHECKING:
    import pandas as pd

    from benchbcss.runs.executors import Outcome

PathLike = str | os.PathLike[str]


class _Options(TypedDict, total=False):
    """``split``: a name or CSV in place of the suite's; ``quiet``: print no progress."""

    split: str | None
    quiet: bool


class RunOptions(_Options, total=False):
    """What ``run`` takes beside the most common: as the options of ``benchbcss run``.

    ``settings`` are values of the recipe, ``{"train.lr": 1e-4}`` or, of one backend,
    ``{"unetpp:train.lr": 1e-4}``; ``clip_model``, ``clip_weights`` and ``clip_prompts`` replace the
    suite's; ``check=False`` returns failed runs instead of raising RunError.
    """

    name: str
    weights: str
    settings: Mapping[str, Any]
    clip_model: str | None
    clip_weights: str | None
    clip_prompts: str | None
    executor: str
    device: Literal["auto", "cpu", "cuda"]
    jobs: int
    processes: int
    timeout: float | None
    floors: bool
    fresh: bool
    check: bool


class ScoreOptions(_Options, total=False):
    """What ``score`` takes beside the most common: as the options of ``benchbcss score``."""

    preset: Literal["full", "smoke"] | None
    replace: bool


@dataclass(frozen=True)
class Runs(Sequence["Outcome"]):
    """How each run ended, in order: 'kept' (finished before), 'done' or 'failed'."""

    outcomes: tuple[Outcome, ...]
    suite: str
    workspace: Path

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome, ...]: ...
    def __getitem__(self, index: int | slice) -> Outcome | tuple[Outcome, ...]:
        return self.outcomes[index]

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    def load(self) -> list[Run]:
        """Those with a result, opened."""
        done = [outcome for outcome in self.outcomes if outcome.status != "failed"]
        return [load_run(outcome.run_dir, workspace=self.workspace) for outcome in done]

    def leaderboard(self) -> Leaderboard:
        """The board of the suite, with all that the workspace holds of it."""
        return leaderboard(suite=self.suite, workspace=self.workspace)

    def to_pandas(self) -> pd.DataFrame:
        """One row per run: backend, seed, name, status, reason and folder."""
        import pandas as pd

        columns = ["backend", "seed", "name", "status", "reason", "run"]
        lines = [
            (o.spec.backend, o.spec.seed, o.spec.name, o.status, o.reason or None, str(o.run_dir))
            for o in self.outcomes
        ]
        return pd.DataFrame(lines, columns=columns)

    def __repr__(self) -> str:
        lines = [f"{len(self)} runs of the suite '{self.suite}' in {self.workspace}"]
        for outcome in self.outcomes:
            reason = f": {outcome.reason}" if outcome.reason else ""
            lines.append(
                f"  {outcome.spec.backend} seed {outcome.spec.seed} {outcome.status}{reason}"
            )
        return "\n".join(lines)


def run(
    backends: str | Iterable[str],
    *,
    data: PathLike | None = None,
    suite: PathLike | None = None,
    preset: Literal["full", "smoke"] | None = None,
    seeds: int | Iterable[int] = (0,),
    workspace: PathLike | None = None,
    **options: Unpack[RunOptions],
) -> Runs:
    """Train, predict and score backends, as ``benchbcss run`` does; what is done already is kept.

    ``data`` is a folder laid out as BCSS (without it the phantom), ``suite`` a name or a file;
    ``seeds`` is a number N for 0 to N-1, or the seeds themselves. More options: ``RunOptions``.
    Each run has a process of its own. Raises InputError before anything is started, and RunError
    after all have ended where some failed.
    """
    from benchbcss.runs import launch
    from benchbcss.runs.planning import Asked

    _refuse_unknown(run, options, RunOptions)
    say = _say(options.get("quiet", False))
    asked = Asked(
        _seeds(seeds),
        options.get("weights", "auto"),
        tuple(f"{key}={_yaml(value)}" for key, value in options.get("settings", {}).items()),
        options.get("device", "auto"),
        processes=_positive("processes", options.get("processes", 1)),
        name=options.get("name", ""),
    )
    how = launch.Launch(
        defaults.workspace(workspace),
        None if suite is None else os.fspath(suite),
        defaults.data(data),
        options.get("split"),
        preset,
        {part: options.get(f"clip_{part}") for part in ("model", "weights", "prompts")},  # type: ignore[misc]
        executor=options.get("executor", "local"),
        timeout=_seconds(options.get("timeout")),
        fresh=options.get("fresh", False),
        jobs=_positive("jobs", options.get("jobs", 1)),
        floors=options.get("floors", True),
    )
    chosen = [backends] if isinstance(backends, str) else list(backends)
    if not chosen:
        raise InputError("Name at least one backend. For those that there are: benchbcss backends")
    prepared, specs = launch.plan(chosen, asked, how, say)
    runs = Runs(tuple(launch.carry_out(specs, how, say)), prepared.suite.name, how.workspace)
    failed = launch.failures(runs.outcomes)
    if failed and options.get("check", True):
        reasons = "; ".join(f"{o.spec.backend} seed {o.spec.seed}: {o.reason}" for o in runs.failed)
        raise RunError(f"{failed}. {reasons}")
    return runs


def score(
    predictions: PathLike,
    *,
    data: PathLike | None = None,
    name: str | None = None,
    labels: str = "labels",
    suite: PathLike | None = None,
    workspace: PathLike | None = None,
    **options: Unpack[ScoreOptions],
) -> Run:
    """Score a folder or .zip of label maps as a row of the board, as ``benchbcss score`` does.

    ``labels`` says what their values are: 'labels' (0..K-1 of the suite's label map), 'codes' (the
    dataset's), 'nnunet', or the path of a class map. ``name`` is the row's, by default the
    folder's. More options: ``ScoreOptions``. Raises InputError.
    """
    from benchbcss.runs import launch

    _refuse_unknown(score, options, ScoreOptions)
    where = defaults.workspace(workspace)
    on = launch.OnData(
        where,
        None if suite is None else os.fspath(suite),
        defaults.data(data),
        options.get("split"),
        options.get("preset"),
    )
    scored = launch.score(
        Path(predictions),
        on,
        name=name,
        numbering=labels,
        replace=options.get("replace", False),
        say=_say(options.get("quiet", False)),
    )
    return load_run(scored.run_dir, workspace=where)


def _say(quiet: bool) -> Any:
    """Where progress goes: to stderr, as the command line's does."""
    from benchbcss.names import visible

    if quiet:
        return lambda text: None
    return lambda text: print(visible(text), file=sys.stderr, flush=True)


def _refuse_unknown(function: Any, options: Mapping[str, Any], known: Any) -> None:
    """As Python refuses a misspelt argument, with the near miss named."""
    for name in options:
        if name in known.__annotations__:
            continue
        names = [*inspect.signature(function).parameters, *known.__annotations__]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f". Did you mean '{near[0]}'?" if near else ""
        raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{name}'{guess}")


def _positive(name: str, value: int) -> int:
    if not 1 <= value <= 1000:
        raise InputError(f"{name} must be 1 to 1000, not {value}.")
    return value


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    """Of a number N, 0 to N-1; numpy's whole numbers are numbers too."""
    try:
        if not isinstance(seeds, Iterable):
            return list(range(_positive("seeds", operator.index(seeds))))
        chosen = list(dict.fromkeys(map(operator.index, seeds)))
    except TypeError:  # neither, or of what are no whole numbers
        chosen = []
    if not chosen or any(not 0 <= seed < 2**32 for seed in chosen):
        raise InputError(
            f"seeds must be a number, or one or more seeds of 0 to {2**32 - 1}; not "
            f"{chosen or seeds}."
        )
    return chosen


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise InputError(f"timeout must be a number of seconds above 0, not {timeout}.")
    return timeout


def _yaml(value: Any) -> str:
    """A value as ``--set`` takes it; numpy's numbers are numbers, paths are text."""
    return json.dumps(value, default=lambda odd: odd.item() if hasattr(odd, "item") else str(odd))
