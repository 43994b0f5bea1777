"""Finds plugins, isolates broken ones, and looks names up: one registry per kind of thing.

Plugins are loaded one by one: one that fails keeps its reason, leaves nothing behind, and the
others go on. Nothing heavy is imported here: a name stands for an import path and a description,
and the code is imported when it is used. What ships with the core is registered by the same hooks
(``benchbcss.builtins``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from typing import Any

import pluggy

from benchbcss import hookspecs
from benchbcss.contract import Backend, BackendInfo
from benchbcss.errors import BenchError
from benchbcss.kinds import (
    AUGMENTATION,
    BACKEND,
    COMMAND,
    EXECUTOR,
    EXPORTER,
    LABELLER,
    METRIC,
    READER,
    SUITE,
    TRACKER,
)
from benchbcss.protocols import CORE
from benchbcss.registered import Kind, Registered, Registry, Source

__all__ = [
    "CORE",
    "GROUP",
    "Kind",
    "Plugins",
    "Registered",
    "Registry",
    "Source",
    "explain",
    "load",
]

GROUP = "benchbcss"


class Plugins:
    """All plugins of one process, and one registry per kind of thing that they add."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.sources: list[Source] = []
        self.broken: dict[Source, str] = {}
        self.backends = Registry(BACKEND, self.broken)
        self.suites = Registry(SUITE, self.broken)
        self.readers = Registry(READER, self.broken)
        self.metrics = Registry(METRIC, self.broken)
        self.augmentations = Registry(AUGMENTATION, self.broken)
        self.executors = Registry(EXECUTOR, self.broken)
        self.exporters = Registry(EXPORTER, self.broken)
        self.trackers = Registry(TRACKER, self.broken)
        self.labellers = Registry(LABELLER, self.broken)
        self.commands = Registry(COMMAND, self.broken)

    @property
    def kinds(self) -> dict[str, Registry[Any, Any]]:
        """Every registry by its plural, as hooks name it: ``backends``, ``suites``, ..."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Registry)}

    def backend(self, name: str) -> Registered[BackendInfo, type[Backend]]:
        """``backends.find(name)``, which is asked everywhere."""
        return self.backends.find(name)

    def provides(self, source: Source) -> dict[str, list[str]]:
        """The names that ``source`` registered, by kind; kinds without any are left out."""
        named = {kind: registry.of(source) for kind, registry in self.kinds.items()}
        return {kind: names for kind, names in named.items() if names}

    def hooks_of(self, source: Source) -> list[str]:
        """The hooks that a loaded plugin implements."""
        callers = self.manager.get_hookcallers(self.manager.get_plugin(source.plugin)) or []
        return sorted(caller.name for caller in callers)

    def add(self, plugin: Any, source: Source) -> None:
        """Register one plugin object; on failure it is recorded as broken and undone."""
        if self.manager.has_plugin(source.plugin) or self.manager.is_registered(plugin):
            self.broken[source] = "its entry point's name or its module is another plugin's already"
            return
        try:
            self.manager.register(plugin, name=source.plugin)
            self.manager.check_pending()
            for plural, registry in self.kinds.items():
                self._ask(plugin, plural, registry, source)
        except BaseException as error:  # a plugin may even raise SystemExit
            for registry in self.kinds.values():
                registry.drop(source)
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            if isinstance(error, KeyboardInterrupt):
                raise
            self.broken[source] = explain(error)
        else:
            self.sources.append(source)

    def _ask(self, plugin: Any, plural: str, registry: Registry[Any, Any], source: Source) -> None:
        others = [other for other in self.manager.get_plugins() if other is not plugin]
        hook = self.manager.subset_hook_caller(f"benchbcss_register_{plural}", others)

        def register(*arguments: Any, **options: Any) -> None:
            registry.add(registry.kind.entry(source, *arguments, **options))

        hook(register=register)


def explain(error: BaseException) -> str:
    """An error in one phrase: our own in its words, others with their type."""
    return str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"


@lru_cache(maxsize=1)
def load() -> Plugins:
    """The core's own and every installed plugin; ``BENCHBCSS_PLUGINS`` (comma-separated names)
    limits the latter."""
    from benchbcss import __version__, builtins

    plugins = Plugins()
    plugins.add(builtins, Source(CORE, "benchbcss", __version__))
    only = os.environ.get("BENCHBCSS_PLUGINS")
    wanted = {name.strip() for name in only.split(",")} if only else None
    for source, point in sorted(_points(), key=_built_ins_first):
        if wanted is not None and point.name not in wanted:
            continue
        try:
            plugin = point.load()
        except BaseException as error:  # a plugin may even raise SystemExit on import
            if isinstance(error, KeyboardInterrupt):
                raise
            plugins.broken[source] = explain(error)
            continue
        plugins.add(plugin, source)
    return plugins


def _points() -> Iterator[tuple[Source, metadata.EntryPoint]]:
    """Every entry point of the group. A distribution says its name and version once: to ask it
    parses all of its metadata, the README among them."""
    known: dict[int, tuple[str, str]] = {}
    for point in metadata.entry_points(group=GROUP):
        dist = point.dist
        if id(dist) not in known:
            known[id(dist)] = (dist.name, dist.version) if dist else ("?", "?")
        yield Source(point.name, *known[id(dist)]), point


def _built_ins_first(pair: tuple[Source, metadata.EntryPoint]) -> tuple[bool, str]:
    # A stranger cannot take a built-in's name by sorting before it.
    source = pair[0]
    return (source.distribution != "benchbcss", source.plugin)
