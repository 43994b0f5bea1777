"""``benchbcss run``: train, predict and score backends on a suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbcss.cli.main import FromRegistry, say, workspace_option

if TYPE_CHECKING:
    from benchbcss.data.dataset import Roi
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.executors import Outcome
    from benchbcss.runs.planning import Asked, Prepared
    from benchbcss.suites import Suite

_SHARED = [
    click.option(
        "--suite",
        help="Name of a suite, or a suite file.  [default: bcss5 with data, phantom without]",
    ),
    click.option(
        "--data",
        "folder",
        type=click.Path(path_type=Path),
        envvar="BENCHBCSS_DATA",
        help="A folder laid out as BCSS; without it the embedded phantom is used.",
    ),
    click.option(
        "--split",
        help="official, brief (official with 21 training ROIs held out for validation), eva, or a "
        "CSV with the columns filename,split.",
    ),
    click.option(
        "--preset", type=click.Choice(["full", "smoke"]), help="smoke: minutes on two cores."
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="[BACKEND:]KEY.PATH=VALUE",
        help="Override a value of the recipe, of one backend or of every model named; see "
        "'benchbcss show BACKEND'.",
    ),
    click.option("--clip-model", help="open_clip model naming regions.  [default: the suite's]"),
    click.option("--clip-weights", help="Its weights: a tag or a path."),
    click.option("--clip-prompts", help="plain, descriptive, several, or a JSON file of prompts."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        help="Stop a worker after this many seconds.",
    ),
    click.option(
        "--executor",
        type=FromRegistry("executors"),
        default="local",
        show_default=True,
        help="Where runs are carried out.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="auto: a GPU where there is one.",
    ),
    click.option("--fresh", is_flag=True, help="Run again even if the same run is finished."),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Build every model, load its weights, check device and disk; start no run.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        help="Output format.",
    ),
    workspace_option,
]


def shared_options(command: Any) -> Any:
    """What ``run`` and ``evaluate`` both take."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.command()
@click.argument("backends", nargs=-1, required=True, metavar="BACKEND...")
@click.option("--seeds", type=click.IntRange(1), help="Run seeds 0 to N-1.")
@click.option("--seed", type=click.IntRange(0), help="Run this seed.  [default: 0]")
@click.option(
    "--weights", default="auto", show_default=True, help="auto, none, a path, or a hub id."
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Workers at a time."
)
@click.option(
    "--baselines/--no-baselines",
    "--floors/--no-floors",
    "floors",
    default=True,
    show_default=True,
    help='Also run the suite\'s trivial baselines ("floors"), which every model has to beat.',
)
@click.option("--name", default="", help="Name of the runs on the leaderboard.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Train each backend on so many GPUs (or, on CPU, processes).",
)
@shared_options
def run(
    backends: tuple[str, ...],
    name: str,
    processes: int,
    seeds: int | None,
    seed: int | None,
    weights: str,
    jobs: int,
    floors: bool,
    **shared: Any,
) -> None:
    """Train, predict and score BACKENDs; each runs in a process of its own."""
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds exclude each other.")
    from benchbcss.runs.planning import Asked

    asked = Asked(
        range(seeds) if seeds else [seed or 0],
        weights,
        shared["overrides"],
        shared["device"],
        processes=processes,
        name=name,
    )
    launch(backends, asked, Launch.of(shared, jobs=jobs, floors=floors))


@dataclass(frozen=True)
class Launch:
    """Where the data is, and how runs are carried out: the options that commands share."""

    workspace: Path
    executor: str
    suite: str | None
    folder: Path | None
    split: str | None
    preset: Any
    clip: dict[str, str | None]
    timeout: float | None
    fresh: bool
    dry_run: bool
    form: str
    jobs: int = 1
    floors: bool = False

    @classmethod
    def of(cls, shared: dict[str, Any], **more: Any) -> Launch:
        """From the parameters of ``shared_options``."""
        clip = {name: shared[f"clip_{name}"] for name in ("model", "weights", "prompts")}
        names = {field.name for field in fields(cls)}
        return cls(**{k: v for k, v in shared.items() if k in names}, clip=clip, **more)


def launch(backends: Sequence[str], asked: Asked, how: Launch) -> None:
    """Check everything, run what is not done yet, show the board; exits with 1 if a run failed."""
    from benchbcss import registry
    from benchbcss.runs import executors, planning, rehearse

    plugins = registry.load()
    plugins.executors.find(how.executor).require()
    for source, reason in plugins.broken.items():
        say(f"warning: {source} is not loaded: {reason}")
    chosen = list(dict.fromkeys(backends))
    for backend in chosen:
        plugins.backend(backend)
    prepared = _prepare(how)
    if how.floors:
        chosen += _floors_beside(chosen, prepared.suite)
    specs = planning.specify(prepared, chosen, asked, how.workspace)
    here = how.executor == "local"
    if how.dry_run:
        _dry_run(specs, prepared.rois, how, here=here)
        return
    settings = executors.Settings(
        how.workspace,
        say,
        jobs=how.jobs,
        timeout=how.timeout,
        fresh=how.fresh,
        watch=_Progress(),
    )
    if asked.device == "cuda" and here and not all(executors.finished(s, settings) for s in specs):
        rehearse.require_cuda()
    outcomes = executors.run_all(specs, settings, executor=how.executor)
    _show(outcomes, prepared.suite, how)


def _prepare(how: Launch) -> Prepared:
    """The data under its suite, checked; what a user must know of both is said."""
    from benchbcss.runs import planning

    definition, used = planning.choose_suite(how.suite, how.folder, how.preset)
    definition = _with_clip(definition, how.clip)
    if definition.phantom is not None:
        say(f"suite '{definition.name}' ({used}): synthetic images; these numbers are not BCSS")
    for flaw in definition.flaws:
        say(f"suite '{definition.name}' has a known flaw: {flaw}")
    prepared = planning.prepare(
        definition, used, folder=how.folder, split=how.split, workspace=how.workspace, say=say
    )
    parts = prepared.split
    say(
        f"split '{parts.name}': {len(parts.train)} train, {len(parts.val)} val, "
        f"{len(parts.test)} test ROIs; {parts.leakage().claim}"
    )
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    return prepared


def _show(outcomes: Sequence[Outcome], suite: Suite, how: Launch) -> None:
    """What came of the runs, as JSON or as the suite's board; exits with 1 if one failed."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if how.form == "json":
        content = [
            {
                "backend": outcome.spec.backend,
                "seed": outcome.spec.seed,
                "status": outcome.status,
                "reason": outcome.reason or None,
                "run": str(outcome.run_dir),
            }
            for outcome in outcomes
        ]
        click.echo(json.dumps(content, indent=1))
    else:
        from benchbcss.board import model
        from benchbcss.board.exporters import terminal

        terminal.table(model.load(how.workspace, suite=suite.name), sys.stdout)
    if failed:
        say(f"{len(failed)} of {len(outcomes)} runs failed; the same command runs only those again")
        sys.exit(1)


def _with_clip(definition: Suite, own: dict[str, str | None]) -> Suite:
    """The suite with what of its CLIP settings is given on the command line."""
    changed = {key: value for key, value in own.items() if value}
    if not changed:
        return definition
    clip = definition.clip.model_copy(update=changed)
    return definition.model_copy(update={"clip": clip})


def _floors_beside(chosen: Sequence[str], definition: Suite) -> list[str]:
    """The baselines to run beside ``chosen``, without those among them."""
    from benchbcss import registry

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


def _dry_run(specs: Sequence[RunSpec], rois: dict[str, Roi], how: Launch, *, here: bool) -> None:
    """Rehearse the runs and list them; exits with 2 where one could not be carried out."""
    from benchbcss.runs import rehearse

    rehearsals = rehearse.rehearse(specs, rois, how.workspace, here=here, fresh=how.fresh)
    space = rehearse.space_problem(rehearsals, how.workspace)
    if how.form == "json":
        disk = {
            "free_bytes": rehearse.free_bytes(how.workspace),
            "needs_bytes": sum(rehearsal.needs for rehearsal in rehearsals),
            "problem": space,
        }
        runs = [rehearsal.plain() for rehearsal in rehearsals]
        click.echo(json.dumps({"runs": runs, "disk": disk}, indent=1))
    else:
        for rehearsal in rehearsals:
            spec, state = rehearsal.spec, "done" if rehearsal.done else "to do"
            click.echo(f"{spec.backend} seed {spec.seed} {state} {rehearsal.run_dir}")
    problems = {r.spec.backend: r.problem for r in rehearsals if r.problem}
    for name, problem in problems.items():
        say(f"error: {name}: {problem}")
    for rehearsal in rehearsals:
        for track, reason in (rehearsal.not_measured or {}).items():
            say(f"warning: {rehearsal.spec.backend}: {track} will not be measured: {reason}")
    if space:
        say(f"error: {space}")
    if problems or space:
        sys.exit(2)


class _Progress:
    """One updating line per worker on a terminal, one line per epoch elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.seen: dict[str, tuple[Any, ...]] = {}

    def __call__(self, spec: Any, status: dict[str, Any]) -> None:
        stage = status.get("stage")
        if stage is None:
            return
        detail = {k: v for k, v in status.items() if k not in ("stage", "pid", "time", "beat")}
        mark = (stage, *detail.values())
        if self.seen.get(spec.backend) == mark:
            return
        self.seen[spec.backend] = mark
        text = f"{spec.backend}: {stage}"
        if stage == "training":
            text += (
                f" epoch {detail['epoch']}/{detail['epochs']} step {detail['step']} "
                f"loss {detail['loss']}"
            )
            if detail.get("val") not in (None, "-"):
                text += f" val Dice {detail['val']} (any tissue, misleading: {detail['tissue']})"
        elif stage in ("predicting", "naming regions"):
            text += f" {detail.get('track', '')} {detail['roi']}/{detail['of']}"
        if self.live:
            click.echo(f"\r\x1b[2K{text}", nl=False, err=True)
            if stage == "done":
                click.echo("\r\x1b[2K", nl=False, err=True)
        elif stage != "training" or detail.get("val") not in (None, "-"):
            say("  " + text)
