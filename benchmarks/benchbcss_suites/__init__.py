"""The built-in suites, registered like anyone's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_suites(register: Callable[[Path], None]) -> None:
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        register(path)
