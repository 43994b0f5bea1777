"""Finds plugins, isolates broken ones, and looks names up.

Plugins are loaded one by one: one that fails keeps its reason and the others go on. Nothing
heavy is imported here; a backend's class is imported by the worker that runs it.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from benchbcss import hookspecs
from benchbcss.contract import Backend, BackendInfo
from benchbcss.errors import PluginError, UnknownNameError

GROUP = "benchbcss"


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Registered:
    """A backend as registered: its description, the import path of its class, its source."""

    info: BackendInfo
    target: str
    source: Source

    def load(self) -> type[Backend]:
        """Import the backend's class. Raises PluginError naming the plugin and the remedy."""
        module, _, name = self.target.partition(":")
        try:
            cls = getattr(importlib.import_module(module), name)
        except Exception as error:
            raise PluginError(
                f"Backend '{self.info.name}' ({self.source}) cannot be imported: "
                f"{type(error).__name__}: {error}. {self.remedy()}"
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, Backend)):
            raise PluginError(
                f"{self.target} ({self.source}) is not a subclass of benchbcss.Backend."
            )
        return cls

    def remedy(self) -> str:
        if self.info.extra:
            return f"Install what it needs: pip install '{self.source.distribution}" + (
                f"[{self.info.extra}]'."
            )
        return f"Reinstall {self.source.distribution} or uninstall it."

    def missing(self) -> list[str]:
        """Modules the backend needs that cannot be found; nothing is imported."""
        from importlib.util import find_spec

        return [name for name in self.info.requires if find_spec(name) is None]


@dataclass
class Registry:
    """All plugins of one process."""

    manager: pluggy.PluginManager
    backends: dict[str, Registered] = field(default_factory=dict)
    suites: dict[str, tuple[Path, Source]] = field(default_factory=dict)
    broken: dict[Source, str] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)

    def backend(self, name: str) -> Registered:
        """Look a backend up; a near miss is suggested."""
        if name in self.backends:
            return self.backends[name]
        hint = ""
        if self.broken:
            which = "; ".join(f"{source}: {reason}" for source, reason in self.broken.items())
            hint = f"Not loaded: {which}"
        raise UnknownNameError("backend", name, self.backends, hint)

    def hooks_of(self, source: Source) -> list[str]:
        """The hooks that a loaded plugin implements."""
        callers = self.manager.get_hookcallers(self.manager.get_plugin(source.plugin)) or []
        return sorted(caller.name for caller in callers)

    def add(self, plugin: Any, source: Source) -> None:
        """Register one plugin object; on failure it is recorded as broken and undone."""
        backends, suites = dict(self.backends), dict(self.suites)
        try:
            self.manager.register(plugin, name=source.plugin)
            self.manager.check_pending()
            hooks = self.manager.subset_hook_caller(
                "benchbcss_register_backends",
                [other for other in self.manager.get_plugins() if other is not plugin],
            )
            hooks(register=lambda info, target: self._add_backend(info, target, source))
            hooks = self.manager.subset_hook_caller(
                "benchbcss_register_suites",
                [other for other in self.manager.get_plugins() if other is not plugin],
            )
            hooks(register=lambda path: self._add_suite(Path(path), source))
        except Exception as error:
            self.backends, self.suites = backends, suites
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            self.broken[source] = f"{type(error).__name__}: {error}"
        else:
            self.sources.append(source)

    def _add_backend(self, info: BackendInfo, target: str, source: Source) -> None:
        if not isinstance(info, BackendInfo):
            raise TypeError(f"register() takes a BackendInfo, got {type(info).__name__}")
        taken = self.backends.get(info.name)
        if taken is not None:
            raise ValueError(f"the name '{info.name}' is taken by {taken.source}")
        self.backends[info.name] = Registered(info, target, source)

    def _add_suite(self, path: Path, source: Source) -> None:
        taken = self.suites.get(path.stem)
        if taken is not None:
            raise ValueError(f"the suite '{path.stem}' is taken by {taken[1]}")
        self.suites[path.stem] = (path, source)


def new_registry() -> Registry:
    """A registry without plugins."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return Registry(manager)


@lru_cache(maxsize=1)
def load() -> Registry:
    """Load every installed plugin; ``BENCHBCSS_PLUGINS`` (comma-separated names) limits them."""
    registry = new_registry()
    only = os.environ.get("BENCHBCSS_PLUGINS")
    wanted = {name.strip() for name in only.split(",")} if only else None
    points = sorted(metadata.entry_points(group=GROUP), key=_built_ins_first)
    for point in points:
        if wanted is not None and point.name not in wanted:
            continue
        dist = point.dist
        source = Source(point.name, dist.name if dist else "?", dist.version if dist else "?")
        try:
            plugin = point.load()
        except BaseException as error:  # a plugin may even raise SystemExit on import
            if isinstance(error, KeyboardInterrupt):
                raise
            registry.broken[source] = f"{type(error).__name__}: {error}"
            continue
        registry.add(plugin, source)
    return registry


def _built_ins_first(point: metadata.EntryPoint) -> tuple[bool, str]:
    # A stranger cannot take a built-in's name by sorting before it.
    return (point.dist is None or point.dist.name != "benchbcss", point.name)
