"""Names that stand for code: one generic registry, whatever the kind of thing."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from benchbcss import names, output
from benchbcss.errors import BenchError, PluginError, UnknownNameError, explain

OURS = "benchbcss"  # the distribution of what is not a stranger's
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
        try:
            name, target, info = self.describe(*arguments, **options)
        except TypeError:
            try:
                inspect.signature(self.describe).bind(*arguments, **options)
            except TypeError as error:  # Python's own message names a function of ours
                raise PluginError(f"register() of a {self.noun}: {error}") from error
            raise
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} cannot be the name of a {self.noun}: use letters, digits, dots, dashes "
                f"and underscores"
            )
        if why := names.problem(name):  # it becomes a folder's, or a file's
            raise PluginError(f"{names.shown(name)} cannot be the name of a {self.noun}: {why}")
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
            if module not in sys.modules:
                with output.diverted():
                    importlib.import_module(module)
            value = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind.noun.capitalize()} '{self.name}' ({self.source}) cannot be imported: "
                f"{explain(error, module)}. {self.remedy()}"
            ) from error
        if not self.kind.fits(value):
            raise PluginError(f"{self.target} ({self.source}) is not {self.kind.expected}.")
        return value

    def call(self, *arguments: Any) -> Any:
        """Load the code and call it. Raises PluginError, naming the plugin, for what a stranger's
        code raises: but for our own errors, and those of files."""
        code: Any = self.load()
        try:
            return code(*arguments)
        except (BenchError, OSError):
            raise
        except Exception as error:
            if self.source.distribution == OURS:
                raise
            raise PluginError(
                f"The {self.kind.noun} '{self.name}' ({self.source}) raised "
                f"{explain(error, self.package)}"
            ) from error

    @property
    def package(self) -> str:
        """Where its code is, for messages."""
        return self.target.partition(":")[0].partition(".")[0]

    def remedy(self) -> str:
        if self.info.extra:
            return f"Install what it needs: pip install '{self.source.distribution}" + (
                f"[{self.info.extra}]'."
            )
        return f"Reinstall {self.source.distribution} or uninstall it."

    def missing(self) -> list[str]:
        """Modules that it needs and that cannot be found; nothing is imported."""
        return [name for name in self.info.requires if not _is_found(name)]

    def require(self) -> None:
        """Raises PluginError where something that it needs is not installed."""
        missing = self.missing()
        if missing:
            raise PluginError(
                f"{self.kind.noun.capitalize()} '{self.name}' needs {', '.join(missing)}, not "
                f"installed. {self.remedy()}"
            )


def _is_found(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # what it would be in is missing, or raises when imported
        return False


class Registry(Mapping[str, Registered[D, T]]):
    """All things of one kind by name, in the order of registration: the core's, then strangers'."""

    def __init__(
        self, kind: Kind[D, T], broken: Mapping[Source, str], left_out: Sequence[str] = ()
    ) -> None:
        self.kind, self._broken, self._left_out = kind, broken, left_out
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
        if self._left_out:
            hint = f"{hint} BENCHBCSS_PLUGINS leaves out: {', '.join(self._left_out)}.".strip()
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
