"""Shows, rather than trusts, that a backend does not read what it must not see.

While the guard is up, opening a file under a forbidden path raises. Python's audit hooks see every
``open``, also those of numpy, Pillow and pathlib; a hook cannot be removed again, so one is added
once and looks at a list.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_forbidden: list[str] = []
_seen: list[str] = []
_hooked = False


class ForbiddenAccess(BaseException):
    """Raised inside the backend; a BaseException, so that ``except Exception`` cannot hide it."""


@contextmanager
def forbid(paths: Iterable[Path]) -> Iterator[list[str]]:
    """Forbid opening ``paths`` and everything under them; yields the list of attempts."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _seen.clear()
    _forbidden.extend(str(Path(path).resolve()) for path in paths)
    try:
        yield _seen
    finally:
        _forbidden.clear()


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _forbidden or event not in ("open", "os.listdir", "os.scandir"):
        return
    if not args or not isinstance(args[0], (str, bytes, os.PathLike)):
        return
    path = os.path.realpath(os.fsdecode(args[0]))
    for forbidden in _forbidden:
        if path == forbidden or path.startswith(forbidden + os.sep):
            _seen.append(path)
            raise ForbiddenAccess(path)
