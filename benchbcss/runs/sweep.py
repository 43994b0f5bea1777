"""A sweep: settings compared by their validation alone; only the chosen are scored on the test
ROIs.

Every setting is trained and validated for every seed, and stops there (``RunSpec.until``): of a
setting that is not chosen no test score exists. The chosen go on where they stopped, as ordinary
runs, and their records say among how many settings they were chosen (``Selection``).
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from benchbcss import registry
from benchbcss.errors import DataError, InputError
from benchbcss.io import read_json, write_json
from benchbcss.results import store
from benchbcss.results.schema import Selection
from benchbcss.runs import grids, planning
from benchbcss.runs.planning import Asked

if TYPE_CHECKING:
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.grids import Setting, SweepFile
    from benchbcss.runs.launch import Launch
    from benchbcss.runs.planning import Prepared

RULE = "mean validation Dice"


@dataclass(frozen=True)
class Candidate:
    """A setting and its runs, one per seed."""

    setting: Setting
    specs: tuple[RunSpec, ...]

    @property
    def identity(self) -> str:
        """Of what is tried, and on what; seeds and the program's version do not count."""
        spec = self.specs[0]
        content = [
            spec.backend,
            spec.recipe.model_dump(mode="json", exclude={"name", "summary", "sources", "tracker"}),
            spec.weights.identity(),
            spec.suite_fingerprint,
            spec.label_map_fingerprint,
            spec.split_fingerprint,
            spec.data_fingerprint,
            spec.preset,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Validated:
    """A candidate with its validation scores, by seed; ``track`` is the one that it validates in.
    ``chosen``: the best of its ``rivals``, itself included."""

    candidate: Candidate
    scores: Mapping[int, float]
    track: str
    chosen: bool = False

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores.values())

    @property
    def sd(self) -> float | None:
        """Over seeds; None for one."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None


def plan(
    made: SweepFile, path: Path, prepared: Prepared, device: str, workspace: Path
) -> list[Candidate]:
    """A candidate per setting, checked as ``benchbcss run`` checks. Raises InputError."""
    if not prepared.split.val:
        raise DataError(
            f"The split '{prepared.split.name}' has no validation ROI, so that nothing but the "
            f"test ROIs could choose between settings. Use another split."
        )
    candidates: dict[str, Candidate] = {}
    for setting in grids.settings(made, path):
        if registry.load().backend(setting.backend).info.floor:
            raise InputError(
                f"The sweep file {path}: '{setting.backend}' is a floor, which is not tuned."
            )
        asked = Asked(made.all_seeds, setting.weights, setting.overrides, device)
        specs = planning.specify(prepared, [setting.backend], asked, workspace)
        specs = [spec.model_copy(update={"until": "training"}) for spec in specs]
        candidate = Candidate(setting, tuple(specs))
        same = candidates.setdefault(candidate.identity, candidate)
        if same is not candidate:
            raise InputError(
                f"The sweep file {path}: the settings '{same.setting.title}' and "
                f"'{setting.title}' come to the same recipe. Keep one."
            )
    return list(candidates.values())


def validated(candidates: Sequence[Candidate], workspace: Path, best_of: str) -> list[Validated]:
    """Their validation scores, and which are chosen: the highest mean over seeds, the first in the
    file among equals. Raises InputError where a run has none."""
    scored = [_scores(candidate, workspace) for candidate in candidates]
    groups: dict[str, list[Validated]] = {}
    for item in scored:
        key = item.candidate.setting.backend if best_of == "backend" else ""
        groups.setdefault(key, []).append(item)
    chosen = []
    for group in groups.values():
        if len(tracks := sorted({item.track for item in group})) > 1:
            raise InputError(
                f"best_of: all cannot choose between settings that are validated in different "
                f"tracks ({', '.join(tracks)}). Use best_of: backend."
            )
        chosen.append(max(group, key=lambda item: item.mean))
    return [
        Validated(item.candidate, item.scores, item.track, any(item is best for best in chosen))
        for item in scored
    ]


def rivals(item: Validated, among: Sequence[Validated], best_of: str) -> list[Candidate]:
    """The candidates that ``item`` was compared with, itself included."""
    backend = item.candidate.setting.backend
    return [
        other.candidate
        for other in among
        if best_of == "all" or other.candidate.setting.backend == backend
    ]


def _scores(candidate: Candidate, workspace: Path) -> Validated:
    scores, track = {}, ""
    for spec in candidate.specs:
        run_dir = spec.run_dir(workspace)
        mean, track = store.validation(run_dir)
        if mean is None:
            raise InputError(
                f"{candidate.setting.title}, seed {spec.seed}, has no validation score, so that "
                f"nothing can be chosen ({run_dir}): either no validation ROI has a class that "
                f"counts, or it was run before, without one; then remove it with: benchbcss runs "
                f"rm {run_dir.name}"
            )
        scores[spec.seed] = mean
    return Validated(candidate, scores, track)


# -- how many were tried ---------------------------------------------------------------------------


def remember(made: SweepFile, candidates: Sequence[Candidate], workspace: Path) -> dict[str, str]:
    """All settings that sweeps of this name ever tried on the suite, as {identity: backend}, these
    included: a grid that is changed after its test score was seen does not begin to count anew."""
    path = workspace / "sweeps" / candidates[0].specs[0].suite.name / f"{made.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        known: dict[str, str] = {}
        if path.exists():
            try:
                known = {str(key): str(value) for key, value in read_json(path)["tried"].items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{path}, which counts the settings that were tried, cannot be read. Give the "
                    f"sweep another name, or remove the file, after which counting begins anew."
                ) from error
        tried = known | {item.identity: item.setting.backend for item in candidates}
        if tried != known:
            write_json(path, {"tried": tried})
    return tried


def selection(
    item: Validated,
    among: Sequence[Validated],
    made: SweepFile,
    tried: Mapping[str, str],
    workspace: Path,
) -> Selection:
    """What the record of a chosen run says of the choice."""
    backend = item.candidate.setting.backend
    others = [c for c in rivals(item, among, made.best_of) if c is not item.candidate]
    seen = sum(
        any(store.has_record(spec.run_dir(workspace)) for spec in other.specs) for other in others
    )
    return Selection(
        sweep=made.name,
        rule=RULE + (f", over {len(item.scores)} seeds" if len(item.scores) > 1 else ""),
        settings=sum(made.best_of == "all" or name == backend for name in tried.values()),
        validation=item.mean,
        validation_sd=item.sd,
        tested=seen,
    )


def finalists(item: Validated, made_by: Selection) -> list[RunSpec]:
    """The chosen setting's runs, to be finished."""
    update: dict[str, Any] = {"until": "result", "selection": made_by}
    return [spec.model_copy(update=update) for spec in item.candidate.specs]


def mark(specs: Sequence[RunSpec], workspace: Path) -> None:
    """Have the records of finished runs say how they were chosen: they may be older than the sweep,
    or than its last settings."""
    for spec in specs:
        run_dir = spec.run_dir(workspace)
        if not store.has_record(run_dir):
            continue
        with store.owned(run_dir, store.A_MOMENT):
            result = store.load(run_dir)
            if result.selection != spec.selection:
                store.save_spec(run_dir, spec)
                store.save(run_dir, result.model_copy(update={"selection": spec.selection}))


# -- the whole of it -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended: every setting with its validation, and of each that was chosen its
    finished runs."""

    made: SweepFile
    items: tuple[Validated, ...]
    finals: tuple[tuple[RunSpec, ...], ...]

    @property
    def best(self) -> list[Validated]:
        """The chosen, in the order of ``finals``."""
        return [item for item in self.items if item.chosen]


def conduct(
    made: SweepFile,
    candidates: Sequence[Candidate],
    prepared: Prepared,
    how: Launch,
    carry: Callable[[Sequence[RunSpec], Sequence[RunSpec], Launch], bool],
    *,
    device: str,
    floors: bool,
    say: Callable[[str], None],
) -> Swept | None:
    """Train all ``candidates``, choose, and finish the chosen.

    ``carry`` is given runs, others that go beside them and how, carries them out and says whether
    all have ended: None where they have not yet, as in a queue.
    """
    tried = remember(made, candidates, how.workspace)
    specs = [spec for candidate in candidates for spec in candidate.specs]
    if not carry(specs, (), how):
        return None
    items = validated(candidates, how.workspace, made.best_of)
    best = [item for item in items if item.chosen]
    finals = tuple(
        tuple(finalists(item, selection(item, items, made, tried, how.workspace))) for item in best
    )
    last = [spec for runs in finals for spec in runs]
    beside = _floors(best, prepared, device, how, say) if floors else []
    if not carry(last, beside, replace(how, fresh=False)):
        return None
    mark(last, how.workspace)
    return Swept(made, tuple(items), finals)


def _floors(
    best: Sequence[Validated],
    prepared: Prepared,
    device: str,
    how: Launch,
    say: Callable[[str], None],
) -> list[RunSpec]:
    """The suite's floors, beside what is scored on the test ROIs."""
    from benchbcss.runs import launch

    backends = [item.candidate.setting.backend for item in best]
    names = launch.floors_beside(backends, prepared.suite, say)
    return planning.specify(prepared, names, Asked(device=device), how.workspace)
