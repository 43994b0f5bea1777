"""``benchbcss leaderboard``: results, verdicts and failures, from disk."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click

from benchbcss.cli.main import say, workspace_option


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...")
@click.option("--suite", help="Only this suite.")
@click.option("--track", type=click.Choice(["semantic", "prompted"]), help="Only this track.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
    help="Output format.",
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
    "--reported/--no-reported",
    default=True,
    show_default=True,
    help="Published numbers, set apart.",
)
@click.option(
    "--promptings", is_flag=True, help="Also the scores under every other oracle prompting."
)
@click.option(
    "--details",
    is_flag=True,
    help="Also conventions, confusions, spread, worst ROIs and institutes of BACKENDs (or all).",
)
@workspace_option
def leaderboard(
    backends: tuple[str, ...],
    suite: str | None,
    track: str | None,
    form: str,
    output: Path | None,
    check: bool,
    reported: bool,
    promptings: bool,
    details: bool,
    workspace: Path,
) -> None:
    """Show the leaderboard of a workspace. With --check, judge BACKENDs (default: each best)."""
    from benchbcss.board import render, rows
    from benchbcss.board.check import unmet

    board = rows.load(workspace, suite=suite, track=track)
    entries = []
    if reported:
        from benchbcss.board.reported import load

        entries = load()
    chosen = rows.of_backends(board, backends)
    stream = io.StringIO() if output else sys.stdout
    if form == "table":
        render.table(board, stream, reported=entries, promptings=promptings)
        if details:
            from benchbcss.board.details import write

            for row in chosen:
                write(row, render.name_of(row), stream)
    else:
        getattr(render, form)(board, stream, reported=entries)
    if output:
        from benchbcss.io import write_bytes

        write_bytes(output, stream.getvalue().encode())  # type: ignore[union-attr]
    if check:
        problems = unmet(board, backends)
        for problem in problems:
            say(f"not met: {problem}")
        if problems:
            sys.exit(3)
