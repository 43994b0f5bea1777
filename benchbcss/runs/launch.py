"""From what a user asked for to runs that are carried out, or label maps that are scored: what the
command line and the Python API both call."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss import registry
from benchbcss.errors import InputError
from benchbcss.progress import SILENT, Progress
from benchbcss.results import store
from benchbcss.results.spec import NAME
from benchbcss.runs import executors, planning, rehearse
from benchbcss.runs.planning import Asked, Prepared

if TYPE_CHECKING:
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.executors import Outcome
    from benchbcss.runs.external import Scored
    from benchbcss.suites import Preset, Suite

Say = Callable[[str], None]


@dataclass(frozen=True)
class OnData:
    """Which suite on which data. None stands for the default: the phantom without ``folder``, the
    suite's split and preset; ``clip`` holds settings that replace the suite's."""

    workspace: Path
    suite: str | None = None
    folder: Path | None = None
    split: str | None = None
    preset: Preset | None = None
    clip: Mapping[str, str | None] = field(default_factory=dict)

    def prepare(self, say: Say, progress: Progress = SILENT, *, warn: bool = False) -> Prepared:
        """The data under its suite, checked. With ``warn``, what a user must know of the suite is
        said first. Raises InputError."""
        definition, used = planning.choose_suite(self.suite, self.folder, self.preset)
        definition = _with_clip(definition, self.clip)
        if warn and definition.phantom is not None:
            say(f"suite '{definition.name}' ({used}): synthetic images; these numbers are not BCSS")
        for flaw in definition.flaws if warn else ():
            say(f"suite '{definition.name}' has a known flaw: {flaw}")
        return planning.prepare(
            definition,
            used,
            folder=self.folder,
            split=self.split,
            workspace=self.workspace,
            say=say,
            progress=progress,
        )


@dataclass(frozen=True)
class Launch(OnData):
    """Also how runs are carried out. ``floors``: the suite's floors run beside the models; ``wait``
    and ``options``: see ``executors.Settings``."""

    executor: str = "local"
    timeout: float | None = None
    fresh: bool = False
    jobs: int = 1
    floors: bool = False
    wait: bool = False
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def settings(self, say: Say, **hooks: Any) -> executors.Settings:
        """What the executor is told; ``hooks`` are its ``watch`` and ``ended``."""
        given = {name: hook for name, hook in hooks.items() if hook is not None}
        return executors.Settings(
            self.workspace,
            say,
            jobs=self.jobs,
            timeout=self.timeout,
            fresh=self.fresh,
            wait=self.wait,
            options=self.options,
            **given,
        )


def plan(
    backends: Sequence[str], asked: Asked, how: Launch, say: Say, progress: Progress = SILENT
) -> tuple[Prepared, list[RunSpec]]:
    """Check everything before anything is started; what a user must know of the data is said.

    Raises InputError and PluginError.
    """
    chosen = list(dict.fromkeys(backends))
    for backend in chosen:
        registry.load().backend(backend)
    prepared = prepare(how, say, progress)
    if how.floors:
        chosen += floors_beside(chosen, prepared.suite, say)
    return prepared, planning.specify(prepared, chosen, asked, how.workspace)


def prepare(how: Launch, say: Say, progress: Progress = SILENT) -> Prepared:
    """The executor and the data, checked; what a user must know of both is said. Raises InputError
    and PluginError."""
    plugins = registry.load()
    plugins.executors.find(how.executor).require()
    for source, reason in plugins.broken.items():
        say(f"warning: {source} is not loaded: {reason}")
    prepared = how.prepare(say, progress, warn=True)
    parts = prepared.split
    say(
        f"split '{parts.name}': {len(parts.train)} train, {len(parts.val)} val, "
        f"{len(parts.test)} test ROIs; {parts.leakage().claim}"
    )
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    return prepared


def carry_out(specs: Sequence[RunSpec], how: Launch, say: Say, **shown: Any) -> list[Outcome]:
    """Run what of ``specs`` is not done yet; their outcomes in order. ``shown`` is what
    ``executors.Settings`` takes besides, such as ``watch``."""
    settings, here = how.settings(say, **shown), how.executor == "local"
    ahead = [spec for spec in specs if how.fresh or not _ended(spec, how.workspace)]
    if here and any(spec.device == "cuda" for spec in ahead):
        rehearse.require_cuda()
    rehearse.require_weights(ahead, say, here=here)
    return executors.run_all(specs, settings, executor=how.executor)


def _ended(spec: RunSpec, workspace: Path) -> bool:
    """By a look: whether the record is whole is read where the run is kept, once."""
    run_dir = spec.run_dir(workspace)
    held = spec.until == "training" and store.seems_held(run_dir)
    return held or store.has_record(run_dir)


def failures(outcomes: Sequence[Outcome]) -> str | None:
    """That some runs failed, and what to do, as a sentence; None where none did."""
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if not failed:
        return None
    return f"{failed} of {len(outcomes)} runs failed; the same command runs only those again"


def score(
    predictions: Path,
    on: OnData,
    *,
    name: str | None,
    numbering: str,
    replace: bool,
    say: Say,
    progress: Progress = SILENT,
) -> Scored:
    """Score a folder or .zip of label maps, called ``name`` (default: as the folder), as a row of
    the board; see ``external.score``. Raises InputError."""
    from benchbcss.runs import external

    chosen = name or re.sub(
        r"\.zip$", "", os.path.basename(os.path.realpath(predictions)), flags=re.IGNORECASE
    )
    if not re.fullmatch(NAME, chosen):
        raise InputError(
            f"'{chosen}' cannot be a row's name: use letters, digits, dots, dashes and "
            f"underscores, with --name."
        )
    if chosen in registry.load().backends:
        raise InputError(
            f"'{chosen}' is a backend that runs here; give these predictions another --name."
        )
    scored = external.score(
        predictions,
        on.prepare(say, progress),
        name=chosen,
        numbering=numbering,
        workspace=on.workspace,
        replace=replace,
        progress=progress,
    )
    for warning in scored.warnings:
        say(f"warning: {warning}")
    if scored.kept:
        say(f"{chosen}: already done, kept ({scored.run_dir})")
    return scored


def _with_clip(definition: Suite, settings: Mapping[str, str | None]) -> Suite:
    """The suite with what of its CLIP settings is given."""
    changed = {key: value for key, value in settings.items() if value}
    if not changed:
        return definition
    clip = definition.clip.model_copy(update=changed)
    return definition.model_copy(update={"clip": clip})


def floors_beside(chosen: Sequence[str], definition: Suite, say: Say) -> list[str]:
    """The baselines to run beside ``chosen``, without those among them."""
    plugins = registry.load()
    tracks = {track for name in chosen for track in plugins.backend(name).info.tracks}
    installed = [name for name, entry in plugins.backends.items() if entry.info.floor]
    beside = []
    for name in installed if definition.floors is None else definition.floors:
        if name not in plugins.backends:
            say(f"warning: the suite's baseline '{name}' is not installed")
        elif name not in chosen and plugins.backend(name).info.tracks & (
            tracks & set(definition.tracks)
        ):
            beside.append(name)
    return beside
