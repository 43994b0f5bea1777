"""Finds plugins, isolates broken ones, and looks names up: one registry per kind of thing.

Plugins are loaded one by one: one that fails keeps its reason, leaves nothing behind, and the
others go on. Nothing heavy is imported here: a name stands for an import path and a description,
and the code is imported when it is used. What ships with the core is registered by the same hooks
(``benchbcss.builtins``).
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from typing import Any

import pluggy

from benchbcss import hookspecs, output
from benchbcss.contract import Backend, BackendInfo
from benchbcss.errors import PluginError, UnknownNameError, explain
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
from benchbcss.registered import OURS, Kind, Registered, Registry, Source

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
_PREFIX = "benchbcss_"


class Plugins:
    """All plugins of one process, and one registry per kind of thing that they add."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.sources: list[Source] = []
        self.broken: dict[Source, str] = {}
        self.left_out: list[str] = []  # by BENCHBCSS_PLUGINS
        self.backends = Registry(BACKEND, self.broken, self.left_out)
        self.suites = Registry(SUITE, self.broken, self.left_out)
        self.readers = Registry(READER, self.broken, self.left_out)
        self.metrics = Registry(METRIC, self.broken, self.left_out)
        self.augmentations = Registry(AUGMENTATION, self.broken, self.left_out)
        self.executors = Registry(EXECUTOR, self.broken, self.left_out)
        self.exporters = Registry(EXPORTER, self.broken, self.left_out)
        self.trackers = Registry(TRACKER, self.broken, self.left_out)
        self.labellers = Registry(LABELLER, self.broken, self.left_out)
        self.commands = Registry(COMMAND, self.broken, self.left_out)

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

    def blamed(self, error: BaseException) -> str | None:
        """The stranger's plugin whose code ``error`` passed through, and what it raised, in a
        sentence; None where there is none."""
        for source in self.sources:
            if source.distribution == OURS:
                continue
            registered = [entry for kind in self.kinds.values() for entry in kind.values()]
            codes = {entry.package for entry in registered if entry.source == source}
            for code in sorted({_module(self.manager.get_plugin(source.plugin)), *codes} - {""}):
                if (said := explain(error, code)) != explain(error):
                    return f"{source} raised {said}"
        return None

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
            _check_hooks(plugin)
            self.manager.register(plugin, name=source.plugin)
            for plural, registry in self.kinds.items():
                self._ask(plugin, plural, registry, source)
        except BaseException as error:  # a plugin may even raise SystemExit
            for registry in self.kinds.values():
                registry.drop(source)
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            if isinstance(error, KeyboardInterrupt):
                raise
            self.broken[source] = explain(error, _module(plugin))
        else:
            self.sources.append(source)

    def _ask(self, plugin: Any, plural: str, registry: Registry[Any, Any], source: Source) -> None:
        others = [other for other in self.manager.get_plugins() if other is not plugin]
        hook = self.manager.subset_hook_caller(f"benchbcss_register_{plural}", others)

        def register(*arguments: Any, **options: Any) -> None:
            registry.add(registry.kind.entry(source, *arguments, **options))

        hook(register=register)


def _module(plugin: Any) -> str:
    return str(getattr(plugin, "__name__", ""))


def _might_be_a_hook(name: str) -> bool:
    """Of what is not marked as one; quickly, for all that a module holds. Hooks have long names of
    several words."""
    return name.count("_") >= 2 and not name.startswith("_")


def _check_hooks(plugin: Any) -> None:
    """Raises PluginError where a hook would never be called, or where there is none."""
    specs = {name: value for name, value in vars(hookspecs).items() if name.startswith(_PREFIX)}
    implements = False
    for name in dir(plugin):
        value = getattr(plugin, name, None)
        options = getattr(value, f"{hookspecs.PROJECT}_impl", None)
        if not callable(value) or not (options or _might_be_a_hook(name)):
            continue
        hook = (options or {}).get("specname") or name
        if hook not in specs:
            near = difflib.get_close_matches(name, specs, n=1, cutoff=0.6 if options else 0.9)
            if not (options or near):
                continue
            guess = f" Did you mean '{near[0]}'?" if near else ""
            raise PluginError(f"there is no hook '{hook}'.{guess}")
        if not options:
            raise PluginError(f"the hook '{name}' is not marked with benchbcss.hookimpl")
        implements = True
        known = list(inspect.signature(specs[hook]).parameters)
        for argument, about in inspect.signature(value).parameters.items():
            taken = about.kind is about.POSITIONAL_OR_KEYWORD and about.default is about.empty
            if taken and argument not in known:
                raise PluginError(
                    f"the hook '{hook}' has no argument '{argument}'; it has {', '.join(known)}"
                )
    if not implements:
        raise PluginError(
            f"{_module(plugin) or 'it'} implements no hook: write one of docs/hooks.md, marked "
            f"with benchbcss.hookimpl"
        )


@lru_cache(maxsize=1)
def load() -> Plugins:
    """The core's own and every installed plugin; ``BENCHBCSS_PLUGINS`` (comma-separated names)
    limits the latter. Raises UnknownNameError where that names none."""
    from benchbcss import __version__, builtins

    plugins = Plugins()
    plugins.add(builtins, Source(CORE, "benchbcss", __version__))
    only = os.environ.get("BENCHBCSS_PLUGINS")
    wanted = {name.strip() for name in only.split(",")} if only else None
    points = sorted(_points(), key=_built_ins_first)
    names = {point.name for _, point in points}
    for name in sorted((wanted or set()) - names - {""}):
        raise UnknownNameError("plugin", name, names, "Correct BENCHBCSS_PLUGINS.")
    with output.diverted():
        for source, point in points:
            if wanted is None or point.name in wanted:
                _load(plugins, source, point)
            else:
                plugins.left_out.append(point.name)
    return plugins


def _load(plugins: Plugins, source: Source, point: metadata.EntryPoint) -> None:
    if not metadata.EntryPoint.pattern.match(point.value):
        plugins.broken[source] = f"its entry point is '{point.value}', not 'package.module'"
        return
    try:
        plugin = point.load()
    except BaseException as error:  # a plugin may even raise SystemExit on import
        if isinstance(error, KeyboardInterrupt):
            raise
        plugins.broken[source] = explain(error, point.module)
        return
    plugins.add(plugin, source)


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
    return (source.distribution != OURS, source.plugin)
