"""The runs that a workspace holds, in whatever state, and how one is removed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchbcss.errors import InputError, RunError, UnknownNameError
from benchbcss.io import read_json
from benchbcss.results import store
from benchbcss.results.heartbeat import beaten, is_there
from benchbcss.temporary import ending

#: held: trained and validated for a sweep, which scores it only if it chooses it
State = Literal["done", "failed", "running", "held", "interrupted", "set aside"]
_MADE_BY_RUNS = ("spec.json", "result.json", "failure.json", "status.json", "log.txt")
#: in the name of a folder that is about to be deleted
REMOVED = ".removing"


@dataclass(frozen=True)
class StoredRun:
    """A run's folder ``WORKSPACE/runs/SUITE/BACKEND/ID`` and what can be told without opening its
    record."""

    path: Path
    state: State

    @property
    def suite(self) -> str:
        return self.path.parent.parent.name

    @property
    def backend(self) -> str:
        return self.path.parent.name

    @property
    def changed(self) -> float:
        """When it last changed, in seconds since 1970."""
        marks = [self.path, *(self.path / name for name in _MADE_BY_RUNS)]
        return max((s.st_mtime for s in map(_status, marks) if s is not None), default=0.0)

    @property
    def size(self) -> int:
        """Bytes on disk, of the files that are there from beginning to end."""
        files = (Path(at, name) for at, _, names in os.walk(self.path) for name in names)
        statuses = (_status(path, follow=False) for path in files if path.is_file())
        return sum(status.st_size for status in statuses if status is not None)

    def plain(self) -> dict[str, Any]:
        """As ``runs list --format json`` writes it."""
        return {
            "suite": self.suite,
            "backend": self.backend,
            "run": self.path.name,
            "state": self.state,
            "changed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.changed)),
            "bytes": self.size,
            "path": str(self.path),
        }


def _status(path: Path, *, follow: bool = True) -> os.stat_result | None:
    """None for what is not there any more: a run at work replaces and removes files."""
    try:
        return path.stat(follow_symlinks=follow)
    except OSError:
        return None


def every(workspace: Path) -> list[StoredRun]:
    """All runs of ``workspace``, by suite, backend and folder."""
    folders = sorted((workspace / "runs").glob("*/*/*"))
    return [StoredRun(path, _state(path)) for path in folders if _is_run(path)]


def chosen(
    workspace: Path, names: Sequence[str], *, suite: str | None = None, aside: bool = False
) -> list[StoredRun]:
    """The runs that ``names`` mean: backends (or names of scored predictions), runs' folders, or
    the ids of these, alone or as BACKEND/ID or SUITE/BACKEND/ID. Those set aside count where they
    are named, or with ``aside``.

    Raises UnknownNameError, and InputError for a folder that is no run of ``workspace``.
    """
    runs = [run for run in every(workspace) if suite is None or run.suite == suite]
    picked: dict[Path, StoredRun] = {}
    for name in names:
        matching = [r for r in runs if r.backend == name and (aside or r.state != "set aside")]
        matching = matching or [r for r in runs if name in _ids(r.path)]
        matching = matching or [
            r for r in runs if os.path.realpath(r.path) == os.path.realpath(name)
        ]
        if not matching and os.path.isdir(name) and os.sep in name:
            raise InputError(
                f"{name} is no run of the workspace {workspace}. Its runs: benchbcss runs list."
            )
        if not matching:
            known = {run.backend for run in runs} | {run.path.name for run in runs}
            raise UnknownNameError("run", name, known, "Or pass a run's folder.")
        picked |= {run.path: run for run in matching}
    return list(picked.values())


def _ids(run_dir: Path) -> tuple[str, ...]:
    """The run's id, BACKEND/ID and SUITE/BACKEND/ID."""
    return tuple("/".join(run_dir.parts[-words:]) for words in (1, 2, 3))


def find_finished(run: str, workspace: Path) -> Path:
    """The folder of the finished run that ``run`` means: a folder, an id, a given name, a backend,
    or SUITE/BACKEND/ID. Raises UnknownNameError, and InputError where several are meant."""
    if store.has_record(Path(run)):
        return Path(run)
    folders = sorted(
        path.parent for path in (workspace / "runs").glob("*/*/[!.]*/result.json") if path.is_file()
    )
    ways = (
        lambda folder: "/".join(folder.parts[-3:]) == run,
        lambda folder: "/".join(folder.parts[-2:]) == run,
        lambda folder: folder.name == run,
        lambda folder: folder.name.startswith(f"{run}-seed"),
        lambda folder: folder.parent.name == run,
    )
    for way in ways:
        meant = [folder for folder in folders if way(folder)]
        if len(meant) > 1:
            listing = ", ".join("/".join(folder.parts[-3:]) for folder in meant)
            raise InputError(f"'{run}' means {len(meant)} runs. Name one of them: {listing}.")
        if meant:
            return meant[0]
    known = {folder.parent.name for folder in folders}
    raise UnknownNameError("finished run", run, known, f"Looked in {workspace / 'runs'}.")


def remove(run: StoredRun, *, result_too: bool = True) -> None:
    """Delete the run's folder, out of sight first, so that none is ever seen half deleted.

    Raises InputError while it is running, and where it has a result unless ``result_too``; RunError
    where it cannot be removed.
    """
    away = run.path.with_name(f".{run.path.name.lstrip('.')}{REMOVED}{ending()}")
    try:
        with store.owned(run.path):
            if not _ended(run.path) and _beats(run.path):  # by a worker on another machine
                raise InputError(_busy(run))
            if not result_too and store.has_record(run.path):
                raise InputError(f"{run.path} has a result by now; it is kept.")
            run.path.rename(away)
            store.lock_file(run.path).unlink()
            store.memo_file(run.path).unlink(missing_ok=True)
    except store.Busy:
        raise InputError(_busy(run)) from None
    except OSError as error:
        raise RunError(f"{run.path} cannot be removed: {error.strerror}.") from error
    try:
        shutil.rmtree(away)
    except OSError as error:
        raise RunError(f"{away} cannot be removed: {error.strerror}. Remove it by hand.") from error
    for parent in (run.path.parent, run.path.parent.parent):
        try:
            parent.rmdir()  # an empty folder would be a backend without runs
        except OSError:
            return


def _busy(run: StoredRun) -> str:
    return f"{run.path} is running. Wait for it, or stop the command that runs it."


def _is_run(path: Path) -> bool:
    """A link is none: what it leads to is not ours to delete."""
    if path.is_symlink() or not path.is_dir() or REMOVED in path.name:
        return False
    return any((path / name).is_file() for name in _MADE_BY_RUNS)


def _state(path: Path) -> State:
    if path.name.startswith("."):
        return "set aside"
    if store.has_record(path):
        return "done"
    if (path / "failure.json").is_file():
        return "failed"
    if store.seems_held(path):
        return "held"
    return "running" if _alive(path) else "interrupted"


def _alive(path: Path) -> bool:
    """Whether a worker holds the run's lock. On a machine that cannot see the lock, a heartbeat of
    the last minutes counts."""
    if store.lock_file(path).exists():
        try:
            with store.owned(path):
                pass
        except store.Busy:
            return True
        except RunError:
            pass
    return _beats(path)


def _ended(path: Path) -> bool:
    return store.has_record(path) or (path / "failure.json").is_file()


def _beats(path: Path) -> bool:
    from benchbcss.runs.executors.local import HEARTBEAT_LOST

    try:
        status = read_json(path / "status.json")
        beat = beaten(status)
    except (OSError, ValueError, AttributeError):  # none, torn, or no mapping
        return False
    if beat is None:
        return False
    age, there = time.time() - beat, is_there(status)
    if there is None:  # of another machine, whose clock may differ
        return abs(age) < HEARTBEAT_LOST
    return there and age < HEARTBEAT_LOST
