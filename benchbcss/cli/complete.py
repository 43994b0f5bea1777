"""What a shell offers after Tab: names of backends, suites and runs. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from benchbcss import defaults, registry


def backends(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed ones that are not on the line yet."""
    entries = registry.load().backends
    return _items({name: entry.info.summary for name, entry in entries.items()}, ctx, incomplete)


def suites(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed ones; files where none fits, since a suite may be one."""
    found = _items(dict.fromkeys(registry.load().suites, ""), ctx, incomplete)
    return found or files(ctx, param, incomplete)


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def results(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Backends with a run in the workspace, and names that were given to runs."""
    folders = _runs(ctx)
    names = {folder.parent.name: "" for folder in folders}
    for folder in folders:
        given, mark, _ = folder.name.rpartition("-seed")
        if mark and given:
            names[given] = f"run of {folder.parent.name}"
    return _items(dict(sorted(names.items())), ctx, incomplete)


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``results``, and the ids of runs."""
    ids = {f.name: f"{f.parent.parent.name}, {f.parent.name}" for f in _runs(ctx)}
    return [*results(ctx, param, incomplete), *_items(ids, ctx, incomplete)]


def _runs(ctx: click.Context) -> list[Path]:
    """Folders of runs in the workspace that the line, or the environment, names."""
    given = ctx.params.get("workspace")
    root = defaults.workspace(given if isinstance(given, (str, Path)) else None) / "runs"
    return sorted(path for path in root.glob("*/*/[!.]*") if path.is_dir())


def _items(names: dict[str, str], ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    given: set[str] = set()
    for value in ctx.params.values():
        if isinstance(value, Iterable) and not isinstance(value, str):
            given.update(str(one) for one in value)
    return [
        CompletionItem(name, help=about or None)
        for name, about in names.items()
        if name.startswith(incomplete) and name not in given
    ]
