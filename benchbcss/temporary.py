"""Names of what is written before it is renamed, and the removal of what a killed process left."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import threading
import time
from functools import lru_cache
from pathlib import Path

_OURS = re.compile(r"\..*\.([0-9a-f]{8})\.(\d+)(?:-\d+)?\.tmp")
_OLD = 24 * 3600.0  # seconds after which nobody on another machine writes on


@lru_cache(maxsize=1)
def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def ending() -> str:
    """That of a hidden name: it says which thread of which process and machine writes there."""
    return f".{_machine()}.{os.getpid()}-{threading.get_native_id()}.tmp"


def beside(path: Path) -> Path:
    """Where the new content of ``path`` is written."""
    # Not named after the file: a name of the greatest length leaves no room for more.
    stem = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{stem}{ending()}")


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in ``folder`` whose writer is gone: its process has
    ended, or it is of another machine and older than a day."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
    except OSError:
        return
    for name in names:
        if _is_left(folder / name):
            remove(folder / name)


def _is_left(path: Path) -> bool:
    ours = _OURS.fullmatch(path.name)
    if ours and ours[1] == _machine():
        return not _alive(int(ours[2]))
    if not ours and not re.fullmatch(r"\.[0-9a-f]{16}\.\d+\.tmp", path.name):
        return False  # somebody else's
    try:
        return time.time() - path.lstat().st_mtime > _OLD
    except OSError:
        return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def remove(path: Path) -> None:
    """A file or a folder, as far as it goes: a read-only one is no reason to stop. A pipe in its
    place goes too; to take it for a folder would be to wait for it without end."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass
