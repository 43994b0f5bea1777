"""``benchbcss leaderboard``: results, verdicts and failures, from disk."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click

from benchbcss.cli import complete
from benchbcss.cli.main import (
    FromRegistry,
    one_seed_option,
    one_table_options,
    say,
    workspace_option,
)


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...", shell_complete=complete.results)
@one_table_options
@one_seed_option
@click.option(
    "--format",
    "form",
    type=FromRegistry("exporters"),
    help="Output format.  [default: by the ending of --output, else table]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there instead of stdout.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 3 unless every criterion of the named (or best) backends is 'pass'.",
)
@click.option(
    "--details",
    is_flag=True,
    help="Also every class, objects, reasons of verdicts, conventions, confusions, worst ROIs and "
    "institutes.",
)
@click.option("--costs", is_flag=True, help="Also weights, steps, time and memory.")
@click.option(
    "--prompts",
    "--promptings",
    "promptings",
    is_flag=True,
    help="Also the scores of every other combination of oracle prompt, scope and views.",
)
@click.option(
    "--reported/--no-reported",
    default=None,
    help="Published numbers, set apart.  [default: in formats other than table]",
)
@click.option("--all", "everything", is_flag=True, help="All of these.")
@workspace_option
def leaderboard(
    backends: tuple[str, ...],
    suite: str | None,
    track: str | None,
    seed: int | None,
    form: str | None,
    output: Path | None,
    check: bool,
    reported: bool | None,
    everything: bool,
    workspace: Path,
    **sections: bool,
) -> None:
    """Show the leaderboard of a workspace, of BACKENDs only where they are named. With --check,
    judge BACKENDs (default: each best)."""
    import gc

    from benchbcss import garbage
    from benchbcss.board import asked as asking
    from benchbcss.board import exporters, model
    from benchbcss.board.check import unmet

    garbage.spare()
    gc.disable()  # a thousand records are many small objects, and none of them is garbage
    exporter = exporters.choose(form, output)
    asked = {name for name, wanted in sections.items() if wanted or everything}
    plain = exporter.name == "table" and not asked
    board = asking.load(workspace, suite, track, seed, glance=plain)
    shown = model.only(board, backends)
    if reported is None:
        reported = everything or exporter.name != "table"
    if reported:
        from benchbcss.board.reported import load

        shown.reported = load()
        asked.add("reported")
    shown.sections = frozenset(asked)
    stream = io.StringIO() if output else sys.stdout
    exporter.call(shown, stream)
    if output:
        from benchbcss.io import write_output

        text: str = stream.getvalue()  # type: ignore[union-attr]
        write_output(output, text.encode("utf-8", "backslashreplace"))  # paths hold any bytes
    if check:
        problems = unmet(board, backends)
        for problem in problems:
            say(f"not met: {problem}")
        if problems:
            sys.exit(3)
