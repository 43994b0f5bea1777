"""Which runs a command has yet to begin: ``queue/HOST-PID.json``, read by ``benchbcss status``.

Its writer holds a lock beside it, so that what a killed command leaves counts for nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from benchbcss.errors import BenchError
from benchbcss.io import read_json, write_json


class Queue:
    """The runs of this process that have not ended, in order. What cannot be written costs no run:
    ``status`` then does not list it."""

    def __init__(self, workspace: Path, run_dirs: Sequence[Path]) -> None:
        self.folder = workspace / "queue"
        self.path = self.folder / f"{socket.gethostname()}-{os.getpid()}.json"
        self._workspace = workspace
        self._left = [self._name(path) for path in run_dirs]
        self._lock = FileLock(self.path.with_suffix(".lock"))

    def __enter__(self) -> Queue:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            self._lock.acquire(timeout=1)
        except (OSError, Timeout):
            self._left = []
        self._write()
        return self

    def ended(self, run_dir: Path) -> None:
        name = self._name(run_dir)
        if name in self._left:
            self._left.remove(name)
            self._write()

    def _name(self, run_dir: Path) -> str:
        """Below the workspace, by its name there: ``runs`` may be a link to another disk."""
        return run_dir.absolute().relative_to(self._workspace.absolute()).as_posix()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.path.unlink(missing_ok=True)
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)
        except OSError:  # such as a disk that was taken away; the next command sweeps
            pass

    def _write(self) -> None:
        if not self._left:
            return
        try:
            write_json(self.path, {"runs": self._left}, listed=False)
        except BenchError:
            self._left = []


def queued(workspace: Path) -> list[tuple[Path, float]]:
    """(folder, when the queue was last changed) of every run that a living command has not ended,
    in its order; those at work are among them."""
    runs: dict[Path, float] = {}
    for path in sorted((workspace / "queue").glob("*.json")):
        if not _is_held(path.with_suffix(".lock")):
            continue
        try:
            changed = path.stat().st_mtime
            names = read_json(path)["runs"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # just removed, or not ours
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str) and ".." not in name and not name.startswith("/"):
                runs.setdefault(workspace / name, changed)
    return list(runs.items())


def _is_held(lock_file: Path) -> bool:
    if not lock_file.is_file():
        return False
    try:
        with FileLock(lock_file).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _sweep(folder: Path) -> None:
    """Remove what killed commands left."""
    for path in folder.glob("*.json"):
        if not _is_held(path.with_suffix(".lock")):
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
