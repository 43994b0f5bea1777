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
from benchbcss.names import printable


def show_rows(rows: list[dict[str, Any]], form: str, empty: str) -> None:
    """As JSON, or as a table as wide as the terminal; what all rows share stands below it."""
    if form == "json":
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo(empty)
        return
    from benchbcss.board.cells import Grid
    from benchbcss.board.exporters.layout import lay_out
    from benchbcss.board.exporters.terminal import Page

    name, *others = rows[0]
    shared = [
        column
        for column in others
        if len(rows) > 1 and _cell(rows[0][column]) and len({_cell(r[column]) for r in rows}) == 1
    ]
    columns = [name, *(column for column in others if column not in shared)]
    numbers = [
        i
        for i, column in enumerate(columns)
        if all(isinstance(row[column], int | float | None) for row in rows)
    ]
    left = [i for i in range(len(columns)) if i not in numbers]
    texts = [_texts([row[column] for row in rows]) for column in columns]
    lines = list(zip(*texts, strict=True))
    page = Page.of(sys.stdout)
    for line in lay_out(Grid("", columns, lines, left), page.width):
        page.write(line)
    if shared:
        page.gap()
        facts = (f"{column} {_cell(rows[0][column])}" for column in shared)
        page.say(f"every {name}: {', '.join(facts)}")


def _texts(values: list[Any]) -> list[str]:
    """The cells of a column; fractions to the same digit."""
    fractions = [value for value in values if isinstance(value, float)]
    digits = max((len(str(value).partition(".")[2]) for value in fractions), default=0)
    return [
        f"{value:,.{digits}f}" if fractions and isinstance(value, int | float) else _cell(value)
        for value in values
    ]


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_cell(names)}" for key, names in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "-"
    return ", ".join(value) if isinstance(value, list) else printable(str(value))


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
    show_rows(rows, form, "No backend is installed.")
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
    show_rows(rows, form, "No suite is installed.")
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
    show_rows(rows, form, "No plugin is installed.")


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
