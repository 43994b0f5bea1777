"""``benchbcss run``: train, predict and score backends on a suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from benchbcss.cli.main import FromRegistry, say, workspace_option

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
    click.option("--split", help="brief, official, eva, or a CSV filename,split."),
    click.option(
        "--preset", type=click.Choice(["full", "smoke"]), help="smoke: minutes on two cores."
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY.PATH=VALUE",
        help="Override a value of the recipe; see 'benchbcss show BACKEND'.",
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
    click.option("--dry-run", is_flag=True, help="Check everything and list the runs; start none."),
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
    "--floors/--no-floors",
    default=True,
    show_default=True,
    help="Also run the suite's floors, which make the numbers readable.",
)
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
    launch(
        backends,
        seeds=range(seeds) if seeds else [seed or 0],
        weights=weights,
        jobs=jobs,
        floors=floors,
        processes=processes,
        **shared,
    )


def launch(
    backends: Sequence[str],
    *,
    seeds: Sequence[int],
    weights: str,
    jobs: int,
    floors: bool,
    suite: str | None,
    folder: Path | None,
    split: str | None,
    preset: Any,
    overrides: tuple[str, ...],
    clip_model: str | None,
    clip_weights: str | None,
    clip_prompts: str | None,
    timeout: float | None,
    device: str,
    executor: str,
    fresh: bool,
    dry_run: bool,
    form: str,
    workspace: Path,
    evaluate: Literal["val", "test"] | None = None,
    processes: int = 1,
) -> None:
    """Check everything, run what is not done yet, show the board; exits with 1 if a run failed."""
    from benchbcss import registry
    from benchbcss.results import store
    from benchbcss.runs import executors, planning

    plugins = registry.load()
    plugins.executors.find(executor).require()
    for source, reason in plugins.broken.items():
        say(f"warning: {source} is not loaded: {reason}")
    chosen = list(dict.fromkeys(backends))
    for name in chosen:
        plugins.backend(name)
    definition, used = planning.choose_suite(suite, folder, preset)
    own = {"model": clip_model, "weights": clip_weights, "prompts": clip_prompts}
    if any(own.values()):
        changed = {key: value for key, value in own.items() if value}
        clip = definition.clip.model_copy(update=changed)
        definition = definition.model_copy(update={"clip": clip})
    if floors:
        tracks = {track for name in chosen for track in plugins.backend(name).info.tracks}
        installed = [name for name, entry in plugins.backends.items() if entry.info.floor]
        for name in installed if definition.floors is None else definition.floors:
            if name not in plugins.backends:
                say(f"warning: the suite's floor '{name}' is not installed")
            elif name not in chosen and plugins.backend(name).info.tracks & (
                tracks & set(definition.tracks)
            ):
                chosen.append(name)
    if definition.phantom is not None:
        say(f"suite '{definition.name}' ({used}): synthetic images; these numbers are not BCSS")
    for flaw in definition.flaws:
        say(f"suite '{definition.name}' has a known flaw: {flaw}")
    prepared = planning.prepare(
        definition, used, folder=folder, split=split, workspace=workspace, say=say
    )
    parts = prepared.split
    say(
        f"split '{parts.name}': {len(parts.train)} train, {len(parts.val)} val, "
        f"{len(parts.test)} test ROIs; {parts.leakage().claim}"
    )
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    specs = planning.specify(
        prepared,
        chosen,
        seeds=seeds,
        weights=weights,
        overrides=overrides,
        device=device,
        workspace=workspace,
        evaluate=evaluate,
        processes=processes,
    )
    if dry_run:
        for spec in specs:
            state = "done" if store.is_finished(spec.run_dir(workspace)) else "to do"
            click.echo(f"{spec.backend} seed {spec.seed} {state} {spec.run_dir(workspace)}")
        return
    settings = executors.Settings(
        workspace, say, jobs=jobs, timeout=timeout, fresh=fresh, watch=_Progress()
    )
    outcomes = executors.run_all(specs, settings, executor=executor)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if form == "json":
        click.echo(
            json.dumps(
                [
                    {
                        "backend": o.spec.backend,
                        "seed": o.spec.seed,
                        "status": o.status,
                        "reason": o.reason or None,
                        "run": str(o.run_dir),
                    }
                    for o in outcomes
                ],
                indent=1,
            )
        )
    else:
        from benchbcss.board import model
        from benchbcss.board.exporters import terminal

        board = model.load(workspace, suite=definition.name)
        terminal.table(board, sys.stdout)
    if failed:
        say(f"{len(failed)} of {len(outcomes)} runs failed; the same command runs only those again")
        sys.exit(1)


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
