"""``benchbcss evaluate``: score a checkpoint made elsewhere, without training."""

from __future__ import annotations

from typing import Any

import click

from benchbcss.cli import complete
from benchbcss.cli.run import Launching, launch, launching, shared_options


@click.command(cls=Launching)
@click.argument("backend", shell_complete=complete.backends)
@click.option(
    "--weights",
    required=True,
    shell_complete=complete.files,
    help="The checkpoint: a path, a hub id, or auto for the pretrained.",
)
@click.option(
    "--subset",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="Which ROIs of the split are scored.",
)
@shared_options
def evaluate(backend: str, weights: str, subset: Any, **shared: Any) -> None:
    """Score BACKEND with weights as they are: nothing is trained.

    What only names regions (a probe) is still fitted on the training ROIs, unless the checkpoint
    holds it already.
    """
    from benchbcss.runs.planning import Asked

    asked = Asked(
        weights=weights,
        overrides=shared["overrides"],
        device=shared["device"],
        evaluate=subset,
    )
    how = launching(shared)
    launch([backend], asked, how, form=shared["form"], dry_run=shared["dry_run"])
