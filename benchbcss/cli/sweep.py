"""``benchbcss sweep``: try settings, choose by validation, score only the chosen."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import say
from benchbcss.cli.run import (
    Launching,
    carrying_options,
    floors_option,
    interrupted,
    jobs_option,
    launching,
    rehearse,
)

if TYPE_CHECKING:
    from benchbcss.cli.progress import Display
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.executors import Outcome
    from benchbcss.runs.grids import SweepFile
    from benchbcss.runs.launch import Launch
    from benchbcss.runs.sweep import Candidate, Swept, Validated


@click.command(cls=Launching)
@click.argument(
    "file", type=click.Path(path_type=Path), metavar="FILE", shell_complete=complete.files
)
@jobs_option
@floors_option
@carrying_options
def sweep(file: Path, jobs: int, floors: bool, **shared: Any) -> None:
    """Try the settings of FILE (YAML), choose by validation, score only the chosen.

    Every setting is trained and validated for every seed. The one with the best mean validation
    Dice goes on to the test ROIs, and its record says among how many it was chosen. The same
    command continues what was interrupted; settings that are added to FILE are tried beside those
    that are done.
    """
    from benchbcss.cli import progress
    from benchbcss.runs import grids, launch
    from benchbcss.runs import sweep as sweeps

    made = grids.read(file)
    how = replace(
        launching(shared, jobs=jobs), suite=made.suite, split=made.split, preset=made.preset
    )
    specs: list[RunSpec] = []
    with progress.shown() as display:
        try:
            prepared = launch.prepare(how, say, display)
            candidates = sweeps.plan(made, file, prepared, shared["device"], how.workspace)
            specs += [spec for candidate in candidates for spec in candidate.specs]
            say(f"sweep '{made.name}': {_extent(made, candidates)}")
            if shared["dry_run"]:
                rehearse(specs, prepared.rois, how, shared["form"])
                return

            def carry(runs: Sequence[RunSpec], beside: Sequence[RunSpec], launched: Launch) -> bool:
                specs[:] = runs
                return _carried_out([*runs, *beside], launched, display)

            swept = sweeps.conduct(
                *(made, candidates, prepared, how, carry),
                device=shared["device"],
                floors=floors,
                say=say,
            )
            if swept is None:
                return
        except KeyboardInterrupt:
            interrupted(specs, [outcome.spec for outcome in display.outcomes], how)
    _show(swept, how.workspace, shared["form"])


def _extent(made: SweepFile, candidates: Sequence[Candidate]) -> str:
    runs = sum(len(candidate.specs) for candidate in candidates)
    seeds = len(made.all_seeds)
    settings = f"{len(candidates)} setting{'s' * (len(candidates) != 1)}"
    return f"{settings} x {seeds} seed{'s' * (seeds != 1)} = {runs} runs"


def _carried_out(specs: Sequence[RunSpec], how: Launch, display: Display) -> bool:
    """Whether all runs have ended well; exits with 1 where one failed, before anything is chosen:
    a choice among those that happened not to fail is another one."""
    from benchbcss.runs import launch

    display.expect(specs, how.workspace)
    outcomes: list[Outcome] = launch.carry_out(
        specs, how, say, watch=display.watch, ended=display.ended
    )
    if failed := launch.failures(outcomes):
        say(f"{failed}. Nothing is chosen before all have ended; or leave them out of the file")
        sys.exit(1)
    if any(outcome.status == "submitted" for outcome in outcomes):
        say("watch them with: benchbcss status; when they have ended, the same command goes on")
        return False
    return True


def _show(swept: Swept, workspace: Path, form: str) -> None:
    """Every setting with its validation, and the test scores of the chosen."""
    from benchbcss.results import store

    made, items, finals = swept.made, swept.items, swept.finals
    results = [[store.load(spec.run_dir(workspace)) for spec in specs] for specs in finals]
    best = swept.best
    tests = []
    for runs in results:
        tracks = runs[0].tracks
        means = {
            name: [run.tracks[name].headline.per_roi.mean for run in runs if name in run.tracks]
            for name in tracks
        }
        tests.append({name: [m for m in values if m is not None] for name, values in means.items()})
    if form == "json":
        chosen = [
            {
                "backend": item.candidate.setting.backend,
                "setting": item.candidate.setting.label,
                "selection": runs[0].selection.model_dump() if runs[0].selection else None,
                "runs": [str(spec.run_dir(workspace)) for spec in specs],
                "test": test,
            }
            for item, specs, runs, test in zip(best, finals, results, tests, strict=True)
        ]
        content = {"sweep": made.name, "settings": [_plain(i) for i in items], "chosen": chosen}
        click.echo(json.dumps(content, indent=1, allow_nan=False))
        return
    _table(made, items)
    for item, runs, test in zip(best, results, tests, strict=True):
        settings = runs[0].selection.settings if runs[0].selection else len(items)
        for track, values in test.items():
            click.echo(
                f"{item.candidate.setting.title}: best of {settings} settings by validation; "
                f"{track} test mean Dice {_mean(values)}"
            )
    click.echo("more: benchbcss leaderboard")


def _plain(item: Validated) -> dict[str, Any]:
    setting = item.candidate.setting
    return {
        "backend": setting.backend,
        "setting": setting.label,
        "weights": setting.weights,
        "set": list(setting.overrides),
        "validation": {
            "track": item.track,
            "mean": item.mean,
            "sd": item.sd,
            "by_seed": {str(seed): value for seed, value in item.scores.items()},
        },
        "chosen": item.chosen,
    }


def _table(made: SweepFile, items: Sequence[Validated]) -> None:
    from benchbcss.board.cells import Grid
    from benchbcss.board.exporters.terminal import Page
    from benchbcss.tracks.base import number

    lines = [
        [
            "*" if item.chosen else "",
            item.candidate.setting.backend,
            item.candidate.setting.label or "as it is",
            number(item.mean),
            "-" if item.sd is None else number(item.sd),
            number(min(item.scores.values())),
            number(max(item.scores.values())),
            str(len(item.scores)),
        ]
        for item in sorted(items, key=lambda item: -item.mean)
    ]
    columns = ["", "backend", "setting", "validation", "sd", "least", "most", "seeds"]
    page = Page.of(sys.stdout)
    title = f"sweep {made.name}: mean validation Dice, which alone decides; * is chosen"
    page.section(Grid(title, columns, lines, (0, 1, 2), key=3))


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "undefined"
    spread = f", sd {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    seeds = f" ({len(values)} seeds{spread})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{seeds}"
