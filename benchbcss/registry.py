"""Finds plugins, isolates broken ones, and looks names up: one registry per kind of thing.

Plugins are loaded one by one: one that fails keeps its reason, leaves nothing behind, and the
others go on. Nothing heavy is imported here: a name stands for an import path and a description,
and the code is imported when it is used. What ships with the core is registered by the same hooks
(``benchbcss.builtins``).
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pluggy

from benchbcss import hookspecs
from benchbcss.contract import Backend, BackendInfo
from benchbcss.errors import BenchError, PluginError, UnknownNameError
from benchbcss.protocols import (
    About,
    Compute,
    ExporterInfo,
    Labeller,
    LabellerInfo,
    MetricInfo,
    Tracker,
    Write,
)

if TYPE_CHECKING:
    import click

    from benchbcss.runs.executors import Executor

GROUP = "benchbcss"
CORE = "core"  # the name under which what ships with the core is listed
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_TARGET = re.compile(r"\w+(\.\w+)*:\w+")


class Described(Protocol):
    """What every description says."""

    @property
    def summary(self) -> str: ...
    @property
    def requires(self) -> tuple[str, ...]: ...
    @property
    def extra(self) -> str | None: ...


D = TypeVar("D", bound=Described)
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Kind(Generic[D, T]):
    """A kind of thing that plugins add. ``describe`` takes what a plugin passes to ``register`` and
    returns name, target and description; ``fits`` tells whether loaded code is ``expected``."""

    noun: str
    describe: Callable[..., tuple[str, str, D]]
    expected: str
    fits: Callable[[Any], bool] = callable
    resolve: Callable[[str], Any] | None = None  # None: import "package.module:name"

    def entry(self, source: Source, *arguments: Any, **options: Any) -> Registered[D, T]:
        """What ``register(*arguments, **options)`` of ``source`` stands for. Raises PluginError."""
        name, target, info = self.describe(*arguments, **options)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} cannot be the name of a {self.noun}: use letters, digits, dots, dashes "
                f"and underscores"
            )
        if self.resolve is None and not (isinstance(target, str) and _TARGET.fullmatch(target)):
            raise PluginError(
                f"the {self.noun} '{name}' must be registered as 'package.module:name', "
                f"not {target!r}"
            )
        return Registered(self, name, target, info, source)


@dataclass(frozen=True)
class Registered(Generic[D, T]):
    """A name as registered: the import path behind it, its description, its source."""

    kind: Kind[D, T]
    name: str
    target: str
    info: D
    source: Source

    def load(self) -> T:
        """Import the code. Raises PluginError naming the plugin and the remedy."""
        value: T
        if self.kind.resolve is not None:
            value = self.kind.resolve(self.target)
            return value
        module, _, name = self.target.partition(":")
        try:
            value = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind.noun.capitalize()} '{self.name}' ({self.source}) cannot be imported: "
                f"{type(error).__name__}: {error}. {self.remedy()}"
            ) from error
        if not self.kind.fits(value):
            raise PluginError(f"{self.target} ({self.source}) is not {self.kind.expected}.")
        return value

    def remedy(self) -> str:
        if self.info.extra:
            return f"Install what it needs: pip install '{self.source.distribution}" + (
                f"[{self.info.extra}]'."
            )
        return f"Reinstall {self.source.distribution} or uninstall it."

    def missing(self) -> list[str]:
        """Modules that it needs and that cannot be found; nothing is imported."""
        from importlib.util import find_spec

        return [name for name in self.info.requires if find_spec(name) is None]

    def require(self) -> None:
        """Raises PluginError where something that it needs is not installed."""
        missing = self.missing()
        if missing:
            raise PluginError(
                f"{self.kind.noun.capitalize()} '{self.name}' needs {', '.join(missing)}, not "
                f"installed. {self.remedy()}"
            )


class Registry(Mapping[str, Registered[D, T]]):
    """All things of one kind by name, in the order of registration: the core's, then strangers'."""

    def __init__(self, kind: Kind[D, T], broken: Mapping[Source, str]) -> None:
        self.kind, self._broken = kind, broken
        self._entries: dict[str, Registered[D, T]] = {}

    def __getitem__(self, name: str) -> Registered[D, T]:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> Registered[D, T]:
        """Look a name up. Raises UnknownNameError with a near miss and with what is broken."""
        if name in self._entries:
            return self._entries[name]
        hint = ""
        if self._broken:
            which = "; ".join(f"{source}: {reason}" for source, reason in self._broken.items())
            hint = f"Not loaded: {which}"
        raise UnknownNameError(self.kind.noun, name, self._entries, hint)

    def of(self, source: Source) -> list[str]:
        """The names that ``source`` registered."""
        return [name for name, entry in self._entries.items() if entry.source == source]

    def add(self, entry: Registered[D, T]) -> None:
        """Raises PluginError where the name is taken."""
        taken = self._entries.get(entry.name)
        if taken is not None:
            raise PluginError(
                f"the {self.kind.noun} '{entry.name}' of {entry.source} is taken by {taken.source}"
            )
        self._entries[entry.name] = entry

    def drop(self, source: Source) -> None:
        """Forget what ``source`` registered."""
        for name in self.of(source):
            del self._entries[name]


# -- kinds --------------------------------------------------------------------------------------


def _backend(info: BackendInfo, target: str) -> tuple[str, str, BackendInfo]:
    if not isinstance(info, BackendInfo):
        raise TypeError(f"register() takes a BackendInfo, got {type(info).__name__}")
    return info.name, target, info


def _suite(path: Path) -> tuple[str, str, About]:
    return Path(path).stem, str(path), About()


def _metric(info: MetricInfo, target: str) -> tuple[str, str, MetricInfo]:
    if not isinstance(info, MetricInfo):
        raise TypeError(f"register() takes a MetricInfo, got {type(info).__name__}")
    if "." in info.name:
        raise PluginError(f"the metric '{info.name}' has a dot; criteria say metric.class")
    return info.name, target, info


def _plain(
    name: str,
    target: str,
    summary: str = "",
    *,
    requires: tuple[str, ...] = (),
    extra: str | None = None,
) -> tuple[str, str, About]:
    return name, target, About(summary, tuple(requires), extra)


def _exporter(
    name: str, target: str, summary: str = "", *, extension: str = ".txt", **needs: Any
) -> tuple[str, str, ExporterInfo]:
    if not extension.startswith("."):
        raise PluginError(f"the exporter '{name}' has the extension '{extension}' without a dot")
    return name, target, ExporterInfo(summary, extension=extension, **needs)


def _labeller(
    name: str, target: str, summary: str = "", *, learns: bool = False, **needs: Any
) -> tuple[str, str, LabellerInfo]:
    return name, target, LabellerInfo(summary, learns=learns, **needs)


def _subclass_of(base: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, type) and issubclass(value, base)


def _is_executor(value: Any) -> bool:
    from benchbcss.runs.executors import Executor

    return isinstance(value, type) and issubclass(value, Executor)


def _is_command(value: Any) -> bool:
    import click

    return isinstance(value, click.Command)


BACKEND: Kind[BackendInfo, type[Backend]] = Kind(
    "backend", _backend, "a subclass of benchbcss.Backend", _subclass_of(Backend)
)
SUITE: Kind[About, Path] = Kind("suite", _suite, "a suite file", resolve=Path)
READER: Kind[About, Any] = Kind("reader", _plain, "a reader")
METRIC: Kind[MetricInfo, Compute] = Kind("metric", _metric, "a function of counts")
AUGMENTATION: Kind[About, Callable[..., Any]] = Kind(
    "augmentation", _plain, "a factory of transforms"
)
EXECUTOR: Kind[About, type[Executor]] = Kind(
    "executor", _plain, "a subclass of benchbcss.runs.executors.Executor", _is_executor
)
EXPORTER: Kind[ExporterInfo, Write] = Kind("exporter", _exporter, "a function of board and stream")
TRACKER: Kind[About, type[Tracker]] = Kind(
    "tracker", _plain, "a subclass of benchbcss.protocols.Tracker", _subclass_of(Tracker)
)
LABELLER: Kind[LabellerInfo, type[Labeller]] = Kind(
    "labeller", _labeller, "a subclass of benchbcss.protocols.Labeller", _subclass_of(Labeller)
)
COMMAND: Kind[About, click.Command] = Kind("command", _plain, "a click.Command", _is_command)


# -- plugins ------------------------------------------------------------------------------------


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
            plugins.broken[source] = explain(error)
            continue
        plugins.add(plugin, source)
    return plugins


def _built_ins_first(point: metadata.EntryPoint) -> tuple[bool, str]:
    # A stranger cannot take a built-in's name by sorting before it.
    return (point.dist is None or point.dist.name != "benchbcss", point.name)
