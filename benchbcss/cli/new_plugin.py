"""``benchbcss new-plugin``: an installable package that works at once."""

from __future__ import annotations

from pathlib import Path

import click

from benchbcss.cli.main import say


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["dense", "promptable", "external"]),
    default="dense",
    show_default=True,
    help="dense: a network with a logit per pixel; promptable: SAM-style; external: any program.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Where the package's folder is made.",
)
def new_plugin(name: str, kind: str, into: Path) -> None:
    """Write a package for a backend called NAME."""
    from benchbcss import registry, scaffold
    from benchbcss.errors import InputError

    plugins = registry.load()
    taken = plugins.backends.get(name)
    if taken is not None:
        raise InputError(f"There is a backend '{name}' already ({taken.source}). Choose another.")
    for source in (*plugins.sources, *plugins.broken):
        if source.plugin == name:  # a package of that name would hide the other's
            raise InputError(f"There is a {source} already. Choose another name.")
    root = scaffold.write(name, kind, into)
    say(f"wrote {root}. Next:")
    say(f"  pip install -e {root}")
    say(f"  benchbcss check {name}")
    say(f"  benchbcss run {name}")
