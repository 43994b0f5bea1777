"""The plugin contract: the hooks a package may implement, and nothing else.

A plugin is any module named in the entry-point group ``benchbcss``. Importing it must be cheap:
describe the backend here, and let the harness import the backend's class when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy

PROJECT = "benchbcss"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def benchbcss_register_backends(register: Callable[[Any, str], None]) -> None:
    """Call ``register(BackendInfo(...), "package.module:Class")`` once per backend."""


@hookspec
def benchbcss_register_suites(register: Callable[[Path], None]) -> None:
    """Call ``register(path)`` once per suite file (YAML)."""


@hookspec
def benchbcss_run_start(run_dir: Path, spec: dict[str, Any]) -> None:
    """A worker begins: ``spec`` is the validated run specification as plain data."""


@hookspec
def benchbcss_epoch_end(run_dir: Path, record: dict[str, Any]) -> None:
    """An epoch ended: ``record`` holds epoch, step, losses, learning rates and validation."""


@hookspec
def benchbcss_run_end(run_dir: Path, result: dict[str, Any]) -> None:
    """A run ended well: ``result`` is the content of its ``result.json``."""
