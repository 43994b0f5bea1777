"""``benchbcss backends | suites | plugins | show``: what there is, without importing it."""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import format_option, recipe_option


def _print(rows: list[dict[str, Any]], form: str, empty: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table

    grid = Table()
    for name in rows[0]:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row.values()))
    stream = sys.stdout
    width = None if stream.isatty() else 150
    # Plain text: rich would take the brackets of 'package[extra]' for its own markup.
    Console(file=stream, width=width, markup=False, emoji=False).print(grid)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_cell(names)}" for key, names in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


@click.command()
@format_option
def backends(form: str) -> None:
    """List the backends."""
    from benchbcss import registry

    plugins = registry.load()
    rows = []
    for name, entry in sorted(plugins.backends.items()):
        missing = entry.missing()
        rows.append(
            {
                "backend": name,
                "tracks": sorted(entry.info.tracks),
                "summary": entry.info.summary,
                "from": f"{entry.source.distribution} {entry.source.version}",
                "ready": "yes" if not missing else f"needs {', '.join(missing)}: {entry.remedy()}",
            }
        )
    _print(rows, form, "No backend is installed.")
    for source, reason in plugins.broken.items():
        click.echo(f"warning: {source} is not loaded: {reason}", err=True)


@click.command()
@click.option(
    "--validate",
    type=click.Path(path_type=Path),
    help="Check a suite file of your own: every mistake, with its line.",
)
@format_option
def suites(form: str, validate: Path | None) -> None:
    """List the suites, or check one."""
    if validate is not None:
        from benchbcss.suites import mistakes

        problems = mistakes(validate)
        for line in problems:
            click.echo(line, err=True)
        if problems:
            sys.exit(2)
        click.echo(f"{validate} is a valid suite.")
        return
    from benchbcss import registry
    from benchbcss.errors import BenchError
    from benchbcss.suites import load_suite

    rows, broken = [], []
    for name, entry in sorted(registry.load().suites.items()):
        try:
            suite, preset = load_suite(entry.load())
        except BenchError as error:
            broken.append(f"warning: suite '{name}' ({entry.source}) cannot be used: {error}")
            continue
        label_map = suite.label_map if isinstance(suite.label_map, str) else "own"
        rows.append(
            {
                "suite": name,
                "label map": label_map,
                "split": suite.split,
                "protocol": suite.protocol,
                "preset": preset,
                "summary": suite.summary,
                "from": f"{entry.source.distribution} {entry.source.version}",
            }
        )
    _print(rows, form, "No suite is installed.")
    for warning in broken:
        click.echo(warning, err=True)


@click.command()
@format_option
def plugins(form: str) -> None:
    """List plugins and what they add, broken ones with their reason."""
    from benchbcss import registry

    loaded = registry.load()
    rows = [
        {
            "plugin": source.plugin,
            "distribution": source.distribution,
            "version": source.version,
            "provides": sorted(chain.from_iterable(loaded.provides(source).values())),
            "registered": loaded.provides(source),
            "hooks": loaded.hooks_of(source),
            "state": "loaded",
        }
        for source in loaded.sources
    ] + [
        {
            "plugin": source.plugin,
            "distribution": source.distribution,
            "version": source.version,
            "provides": [],
            "registered": {},
            "hooks": [],
            "state": f"broken: {reason}",
        }
        for source, reason in loaded.broken.items()
    ]
    if form == "table":  # names by kind are enough for a reader
        rows = [{key: value for key, value in row.items() if key != "provides"} for row in rows]
    _print(rows, form, "No plugin is installed.")


@click.command()
@click.argument("backend", shell_complete=complete.backends)
@click.option(
    "--preset",
    type=click.Choice(["full", "smoke"]),
    default="full",
    show_default=True,
    help="Preset shown.",
)
@recipe_option
@click.option(
    "--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="Output format."
)
def show(backend: str, preset: str, overrides: tuple[str, ...], form: str) -> None:
    """Show BACKEND's resolved recipe."""
    from benchbcss import registry
    from benchbcss.recipes import resolve

    entry = registry.load().backend(backend)
    recipe = resolve(entry.info.recipe, preset, overrides).model_dump(mode="json")
    if form == "json":
        click.echo(json.dumps(recipe, indent=1))
        return
    import yaml

    package, _, name = entry.info.recipe.partition(":")
    click.echo(f"# {backend}, preset {preset}, from {Path(package.replace('.', '/')) / name}")
    click.echo(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), nl=False)
