"""The plugin contract: the hooks a package may implement, and nothing else.

A plugin is any module named in the entry-point group ``benchbcss``. Importing it must be cheap:
describe here what it adds, and let the harness import the code when it is used. A hook takes only
the arguments that it needs. ``docs/hooks.md`` has an example of each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from benchbcss.events import EpochEnded, RunEnded, RunFailed, RunStarted

PROJECT = "benchbcss"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# -- what there is: asked once, when plugins are loaded -----------------------------------------


@hookspec
def benchbcss_register_backends(register: Callable[..., None]) -> None:
    """``register(BackendInfo(...), "package.module:Class")``, a ``benchbcss.Backend``."""


@hookspec
def benchbcss_register_suites(register: Callable[..., None]) -> None:
    """``register(path)`` of a suite file (YAML), named as the file."""


@hookspec
def benchbcss_register_readers(register: Callable[..., None]) -> None:
    """``register(name, "package.module:Class", summary)``: a data layout."""


@hookspec
def benchbcss_register_metrics(register: Callable[..., None]) -> None:
    """``register(MetricInfo(...), "package.module:compute")``: ``protocols.Compute``."""


@hookspec
def benchbcss_register_augmentations(register: Callable[..., None]) -> None:
    """``register(name, "package.module:factory", summary)``: a transform that recipes name."""


@hookspec
def benchbcss_register_executors(register: Callable[..., None]) -> None:
    """``register(name, "package.module:Class", summary, options="")``: a
    ``runs.executors.Executor``; ``options`` is the help of its own ``--NAME KEY=VALUE``."""


@hookspec
def benchbcss_register_exporters(register: Callable[..., None]) -> None:
    """``register(name, "package.module:write", summary, extension=".ext")``: ``protocols.Write``,
    a format of ``leaderboard --format``."""


@hookspec
def benchbcss_register_trackers(register: Callable[..., None]) -> None:
    """``register(name, "package.module:Class", summary)``: a ``protocols.Tracker``."""


@hookspec
def benchbcss_register_labellers(register: Callable[..., None]) -> None:
    """``register(name, "package.module:Class", summary, learns=False)``: a
    ``protocols.Labeller``."""


@hookspec
def benchbcss_register_commands(register: Callable[..., None]) -> None:
    """``register(name, "package.module:command", help)``: a ``click.Command``."""


# -- what happens: told in the worker -----------------------------------------------------------
# The arguments after ``event`` are those of the first edition; new plugins take ``event`` alone.


def _old(event: str) -> DeprecationWarning:
    return DeprecationWarning(f"take the argument 'event' alone: it is a benchbcss.events.{event}")


@hookspec(warn_on_impl_args={"run_dir": _old("RunStarted"), "spec": _old("RunStarted")})
def benchbcss_run_start(event: RunStarted, run_dir: Path, spec: dict[str, Any]) -> None:
    """A worker begins to train, or goes on."""


@hookspec(warn_on_impl_args={"run_dir": _old("EpochEnded"), "record": _old("EpochEnded")})
def benchbcss_epoch_end(event: EpochEnded, run_dir: Path, record: dict[str, Any]) -> None:
    """An epoch ended."""


@hookspec(warn_on_impl_args={"run_dir": _old("RunEnded"), "result": _old("RunEnded")})
def benchbcss_run_end(event: RunEnded, run_dir: Path, result: dict[str, Any]) -> None:
    """A run ended well."""


@hookspec
def benchbcss_run_failed(event: RunFailed) -> None:
    """A run that had begun raised an error."""
