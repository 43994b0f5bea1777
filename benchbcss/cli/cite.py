"""``benchbcss cite``: how to cite this program, BCSS, and the models that were run."""

from __future__ import annotations

from pathlib import Path

import click

from benchbcss.cli import complete
from benchbcss.cli.main import workspace_option


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...", shell_complete=complete.backends)
@click.option(
    "--format",
    "form",
    type=click.Choice(["bibtex", "apa", "cff"]),
    default="bibtex",
    show_default=True,
    help="Output format.",
)
@workspace_option
def cite(backends: tuple[str, ...], form: str, workspace: Path) -> None:
    """Print what to cite: benchbcss, BCSS, and the papers of BACKENDs (default: of those with a
    result in the workspace), as far as their recipes name them."""
    from benchbcss import citation, registry

    known = registry.load().backends
    results = (workspace / "runs").glob("*/*/[!.]*/result.json")
    used = sorted({path.parent.parent.name for path in results} & set(known))
    click.echo(citation.text(form, backends or used), nl=False)
