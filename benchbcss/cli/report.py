"""``benchbcss report``: results of a workspace as one HTML file to read, print and pass on."""

from __future__ import annotations

from pathlib import Path

import click

from benchbcss.cli.main import one_seed_option, one_table_options, say, workspace_option


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...")
@one_table_options
@one_seed_option
@click.option(
    "--reported/--no-reported",
    default=True,
    show_default=True,
    help="Published numbers, set apart.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to write.",
)
@workspace_option
def report(
    backends: tuple[str, ...],
    suite: str | None,
    track: str | None,
    seed: int | None,
    reported: bool,
    output: Path,
    workspace: Path,
) -> None:
    """Write the report of a workspace, of BACKENDs only where they are named.

    One HTML file that needs no network: verdicts, intervals, classes, confusions, training,
    objects, ROIs, pictures, pairs, cost, and the command that makes each row again.
    """
    from benchbcss.board import asked, model
    from benchbcss.io import write_output
    from benchbcss.report import page

    board = model.only(asked.load(workspace, suite, track, seed), backends)
    if reported:
        from benchbcss.board.reported import load

        board.reported = load()
    content = page.html(board).encode("utf-8", "replace")  # paths may hold any bytes
    write_output(output, content)
    say(f"wrote {output} ({len(content) / 1e6:.1f} MB)")
