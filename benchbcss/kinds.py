"""The kinds of things that plugins add: how each is described, and what its code must be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss.contract import Backend, BackendInfo
from benchbcss.errors import PluginError
from benchbcss.protocols import (
    About,
    Compute,
    ExecutorInfo,
    ExporterInfo,
    Labeller,
    LabellerInfo,
    MetricInfo,
    Tracker,
    Write,
)
from benchbcss.registered import Kind

if TYPE_CHECKING:
    import click

    from benchbcss.runs.executors import Executor


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
    return name, target, About(summary, requires, extra)


def _executor(
    name: str, target: str, summary: str = "", *, options: str = "", **needs: Any
) -> tuple[str, str, ExecutorInfo]:
    return name, target, ExecutorInfo(summary, options=options, **needs)


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

    return isinstance(value, type) and issubclass(value, Executor) and not inspect.isabstract(value)


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
EXECUTOR: Kind[ExecutorInfo, type[Executor]] = Kind(
    "executor",
    _executor,
    "a subclass of benchbcss.runs.executors.Executor with submit, poll and cancel",
    _is_executor,
)
EXPORTER: Kind[ExporterInfo, Write] = Kind("exporter", _exporter, "a function of board and stream")
TRACKER: Kind[About, type[Tracker]] = Kind(
    "tracker", _plain, "a subclass of benchbcss.protocols.Tracker", _subclass_of(Tracker)
)
LABELLER: Kind[LabellerInfo, type[Labeller]] = Kind(
    "labeller", _labeller, "a subclass of benchbcss.protocols.Labeller", _subclass_of(Labeller)
)
COMMAND: Kind[About, click.Command] = Kind("command", _plain, "a click.Command", _is_command)
