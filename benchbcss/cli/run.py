"""``benchbcss run``: train, predict and score backends on a suite."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from benchbcss.cli import complete
from benchbcss.cli.main import (
    FromRegistry,
    Positive,
    format_option,
    say,
    split_option,
    workspace_option,
)
from benchbcss.defaults import DATA_VARIABLE

if TYPE_CHECKING:
    from benchbcss.data.dataset import Roi
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.executors import Outcome
    from benchbcss.runs.launch import Launch
    from benchbcss.runs.planning import Asked
    from benchbcss.suites import Suite

_data_option = click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    envvar=DATA_VARIABLE,
    help="A folder laid out as BCSS; without it the embedded phantom is used.",
)

#: on which data by which settings
_WHAT: list[Any] = [
    click.option(
        "--suite",
        shell_complete=complete.suites,
        help="Name of a suite, or a suite file.  [default: bcss5 with data, phantom without]",
    ),
    _data_option,
    split_option,
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
]

#: where and how
_HOW: list[Any] = [
    click.option(
        "--timeout",
        type=Positive(10**9),
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
        "--wait",
        is_flag=True,
        help="Follow runs that are handed to a queue until they end.",
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
    format_option,
    workspace_option,
]


def _parameter(executor: str) -> str:
    return "executor_" + "".join(c if c.isalnum() else "_" for c in executor)


class Launching(click.Command):
    """A command that carries runs out: it also takes the options of every executor that has some,
    as ``--EXECUTOR KEY=VALUE``."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from benchbcss import registry

        *params, last = super().get_params(ctx)  # --help comes last
        options = [
            click.Option(
                [f"--{name}", _parameter(name)],
                multiple=True,
                metavar="KEY=VALUE",
                help=entry.info.options,
            )
            for name, entry in registry.load().executors.items()
            if entry.info.options
        ]
        return [*params, *options, last]


def shared_options(command: Any) -> Any:
    """What ``run`` and ``evaluate`` both take."""
    return _with(command, [*_WHAT, *_HOW])


def carrying_options(command: Any) -> Any:
    """What a command takes whose settings stand in a file: data, and how runs are carried out."""
    return _with(command, [_data_option, *_HOW])


def _with(command: Any, options: Sequence[Any]) -> Any:
    for option in reversed(options):
        command = option(command)
    return command


def jobs_option(command: Any) -> Any:
    """--jobs, of commands that train."""
    return click.option(
        "--jobs",
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        help="Workers at a time; on several GPUs each has its own.",
    )(command)


def floors_option(command: Any) -> Any:
    """--baselines, of commands that score models."""
    return click.option(
        "--baselines/--no-baselines",
        "--floors/--no-floors",
        "floors",
        default=True,
        show_default=True,
        help='Also run the suite\'s trivial baselines ("floors"), which every model has to beat.',
    )(command)


@click.command(cls=Launching)
@click.argument(
    "backends", nargs=-1, required=True, metavar="BACKEND...", shell_complete=complete.backends
)
@click.option("--seeds", type=click.IntRange(1, 1000), help="Run seeds 0 to N-1.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Run this seed.  [default: 0]")
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    shell_complete=complete.files,
    help="auto, none, a path, or a hub id.",
)
@jobs_option
@floors_option
@click.option("--name", default="", help="Name of the runs on the leaderboard.")
@click.option(
    "--processes",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Train each backend on so many GPUs (or, on CPU, processes).",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 1000),
    help="Processes that read training samples. [default: with a GPU, by cores and shared memory; "
    "else none]",
)
@shared_options
def run(
    backends: tuple[str, ...],
    name: str,
    processes: int,
    workers: int | None,
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
        workers=workers,
    )
    how = launching(shared, jobs=jobs, floors=floors)
    launch(backends, asked, how, form=shared["form"], dry_run=shared["dry_run"])


def launching(shared: dict[str, Any], **more: Any) -> Launch:
    """From the parameters of ``shared_options`` or ``carrying_options``."""
    from benchbcss.runs.launch import Launch

    clip = {name: shared.get(f"clip_{name}") for name in ("model", "weights", "prompts")}
    names = {field.name for field in fields(Launch)}
    options = _options_of(shared["executor"], shared)
    given = {name: value for name, value in shared.items() if name in names}
    return Launch(**given, clip=clip, options=options, **more)


def _options_of(executor: str, shared: dict[str, Any]) -> dict[str, list[str]]:
    """The chosen executor's own KEY=VALUEs; those of another would do nothing, so they are refused.

    Raises UsageError.
    """
    from benchbcss import registry

    options: dict[str, list[str]] = {}
    for name in registry.load().executors:
        for text in shared.get(_parameter(name)) or ():
            if name != executor:
                raise click.UsageError(f"--{name} is for --executor {name}.")
            key, sign, value = text.partition("=")
            if not key or not sign:
                raise click.UsageError(f"--{name} {text}: write KEY=VALUE.")
            options.setdefault(key.strip(), []).append(value.strip())
    return options


def launch(backends: Sequence[str], asked: Asked, how: Launch, *, form: str, dry_run: bool) -> None:
    """Check everything, run what is not done yet, show the board; exits with 1 if a run failed."""
    from benchbcss.cli import progress
    from benchbcss.runs import launch as launches

    specs: list[RunSpec] = []
    with progress.shown() as display:
        try:
            prepared, planned = launches.plan(backends, asked, how, say, display)
            specs += planned
            if dry_run:
                rehearse(specs, prepared.rois, how, form)
                return
            display.expect(specs, how.workspace)
            outcomes = launches.carry_out(specs, how, say, watch=display.watch, ended=display.ended)
        except KeyboardInterrupt:
            interrupted(specs, [outcome.spec for outcome in display.outcomes], how)
    _show(outcomes, prepared.suite, how, form)
    if failed := launches.failures(outcomes):
        say(failed)
        sys.exit(1)


def interrupted(specs: Sequence[RunSpec], ended: Sequence[RunSpec], how: Launch) -> NoReturn:
    """Say what is kept and how to go on, by the very command; exits with 130."""
    from benchbcss import registry
    from benchbcss.results import store

    finished = [
        spec
        for spec in specs
        if store.has_record(run_dir := spec.run_dir(how.workspace)) or store.is_held(run_dir)
    ]
    program = click.get_current_context().find_root().info_name or "benchbcss"
    # --fresh would begin again what was begun.
    command = shlex.join(
        [program, *(word for word in sys.argv[1:] if word != "--fresh" or not specs)]
    )
    if specs and registry.load().executors.find(how.executor).load().detached:
        _left_behind(specs, finished, how, command)
    old = [spec for spec in finished if how.fresh and spec not in ended]
    what = (
        f"{len(finished) - len(old)} of {len(specs)} runs are finished, the others continue "
        f"from their last checkpoint"
        if specs
        else "what is finished is kept"
    )
    say(f"interrupted; {what}")
    say(f"continue with: {command}")
    if old:
        names = ", ".join(dict.fromkeys(spec.backend for spec in old))
        say(f"not begun anew, so that old results stand: {names}; run them with --fresh")
    sys.exit(130)


def _left_behind(
    specs: Sequence[RunSpec], finished: Sequence[RunSpec], how: Launch, command: str
) -> NoReturn:
    """As ``interrupted``, where runs go on without this command."""
    from benchbcss.runs.executors.protocol import submission

    others = [spec for spec in specs if spec not in finished]
    going = [spec for spec in others if submission(spec.run_dir(how.workspace))]
    parts = [f"{len(finished)} of {len(specs)} runs finished"]
    parts += [f"{len(going)} in the queue or at work, which go on"] * bool(going)
    parts += [f"{len(others) - len(going)} not submitted"] * (len(others) > len(going))
    say(f"no longer followed: {', '.join(parts)}")
    if going:
        say("look at them with: benchbcss status; stop them with: benchbcss cancel NAME")
    if others:
        say(f"{'follow them again' if going else 'submit them'} with: {command}")
    sys.exit(130)


def _show(outcomes: Sequence[Outcome], suite: Suite, how: Launch, form: str) -> None:
    """What came of the runs, as JSON or as the suite's board."""
    if form == "json":
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
    elif any(outcome.status == "submitted" for outcome in outcomes):
        say("watch them with: benchbcss status; results are shown by: benchbcss leaderboard")
    else:
        from benchbcss.board import model
        from benchbcss.board.exporters import terminal

        terminal.table(model.load(how.workspace, suite=suite.name, glance=True), sys.stdout)


def rehearse(specs: Sequence[RunSpec], rois: dict[str, Roi], how: Launch, form: str) -> None:
    """Rehearse the runs and list them; exits with 2 where one could not be carried out."""
    from benchbcss.runs import executors
    from benchbcss.runs import rehearse as rehearsing

    here = how.executor == "local"
    rehearsals = rehearsing.rehearse(specs, rois, how.workspace, here=here, fresh=how.fresh)
    space = rehearsing.space_problem(rehearsals, how.workspace)
    if form == "json":
        disk = {
            "free_bytes": rehearsing.free_bytes(how.workspace),
            "needs_bytes": sum(rehearsal.needs for rehearsal in rehearsals),
            "problem": space,
        }
        runs = [rehearsal.plain() for rehearsal in rehearsals]
        click.echo(json.dumps({"runs": runs, "disk": disk}, indent=1))
    else:
        for rehearsal in rehearsals:
            spec, state = rehearsal.spec, "done" if rehearsal.done else "to do"
            click.echo(f"{spec.backend} seed {spec.seed} {state} {rehearsal.run_dir}")
            if rehearsal.validation:
                click.echo(f"  validation: {rehearsal.validation['sentence']}")
    if script := executors.script(specs, how.settings(say), how.executor):
        click.echo(script, err=form == "json")
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
