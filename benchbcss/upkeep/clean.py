"""What a workspace may lose without losing a result, and removing it.

Nothing that a board shows or a run would continue from is ever among it: finished runs keep their
record, tables, predictions and the weights that were scored; interrupted and failed runs keep all
that they have, unless a later result has taken their place.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbcss.board import model
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError, DataError, RunError
from benchbcss.io import read_json, trusted
from benchbcss.results import store
from benchbcss.runs import stored
from benchbcss.runs.stored import StoredRun

#: kind -> what it is, in the order in which it is shown
KINDS = {
    "checkpoints": "checkpoints of finished runs, but for the weights that were scored",
    "replaced": "failed and interrupted runs that a later result has replaced",
    "torn": "folders without a result that no run can continue from",
    "store": "decoded images and masks whose files are gone or have changed",
    "temporary": "temporary files and locks that a stopped program left behind",
}
#: the checkpoint that a run is scored with, and the summary of its training
_FINAL, _SUMMARY = "final.safetensors", "training.json"
#: seconds after which what nobody owns counts as left behind
LEFT_BEHIND = 3600.0


@dataclass(frozen=True)
class Removable:
    """Something that may go: a file or a folder of ``kind``. ``run`` is the run's folder that it
    belongs to, whose lock is held while it is removed."""

    kind: str
    path: Path
    bytes: int
    why: str
    run: Path | None = None

    def plain(self) -> dict[str, str | int]:
        """As ``runs clean --format json`` writes it."""
        return {
            "kind": self.kind,
            "path": str(self.path),
            "bytes": self.bytes,
            "why": self.why,
        }


def look(workspace: Path, data: Iterable[Path] = ()) -> list[Removable]:
    """What may go, by kind. ``data`` are folders whose decoded images stay, beside those that the
    runs of ``workspace`` name and its phantoms."""
    runs = stored.every(workspace)
    items = [
        *_checkpoints(runs),
        *_replaced(workspace, runs),
        *_torn(workspace, runs),
        *_stale(workspace, runs, data),
        *_temporary(workspace, runs),
    ]
    taken: set[Path] = set()
    kept = []
    for item in items:  # a file within a folder that goes is not listed again
        if item.path not in taken and not taken & set(item.path.parents):
            taken.add(item.path)
            kept.append(item)
    return kept


def remove(item: Removable) -> None:
    """Delete ``item`` if it is still what it was when it was found. Raises RunError where it cannot
    be, and BenchError where a run is at work there."""
    try:
        if item.kind in ("replaced", "torn") and item.run is not None:
            stored.remove(StoredRun(item.path, "interrupted"), result_too=False)
        elif item.run is not None:
            _remove_of_run(item, item.run)
        elif item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{item.path} cannot be removed: {error.strerror or error}.") from error


def _remove_of_run(item: Removable, run: Path) -> None:
    with store.owned(run):
        final = run / "checkpoints" / _FINAL
        if item.kind == "checkpoints" and not (store.has_record(run) and final.is_file()):
            raise RunError(f"{run} is no longer a finished run with its weights; it is kept.")
        if item.path in (store.lock_file(run), store.memo_file(run)):
            if run.exists():
                return  # a run has begun there
            store.lock_file(run).unlink(missing_ok=True)  # which was taken just now
        item.path.unlink(missing_ok=True)


def _checkpoints(runs: Sequence[StoredRun]) -> Iterator[Removable]:
    for run in runs:
        paths = sorted((run.path / "checkpoints").glob("*.safetensors"))
        superseded = [p for p in paths if p.name != _FINAL and p.is_file() and not p.is_symlink()]
        if superseded and _scored_weights(run.path):
            why = f"{run.backend} {run.path.name} is finished"
            for path in superseded:
                yield Removable("checkpoints", path, path.stat().st_size, why, run.path)


def _scored_weights(run: Path) -> bool:
    """Whether it is finished and has the weights that it was scored with, as they were written: no
    other is needed to make anything of it anew."""
    if not trusted(run / "checkpoints" / _FINAL) or not trusted(run / _SUMMARY):
        return False
    try:
        store.load(run)
    except DataError:
        return False
    return True


def _replaced(workspace: Path, runs: Sequence[StoredRun]) -> Iterator[Removable]:
    """Those that the board no longer lists."""
    without = [run for run in runs if run.state in ("failed", "interrupted")]
    if not without:
        return
    board = model.load(workspace)
    listed = {Path(item.run) for item in (*board.failures, *board.unfinished)}
    for run in without:
        if run.path not in listed and not store.is_held(run.path) and _readable(run.path):
            why = f"a later run of {run.backend} of the same seed and name has a result"
            yield Removable("replaced", run.path, run.size, why, run.path)


def _torn(workspace: Path, runs: Sequence[StoredRun]) -> Iterator[Removable]:
    for run in runs:
        if run.state in ("done", "running") or _is_young(run.path):
            continue
        if run.state == "set aside":
            if not store.has_record(run.path):
                why = "it was set aside without a result"
                yield Removable("torn", run.path, run.size, why, run.path)
        elif not _readable(run.path):
            why = "its specification cannot be read"
            yield Removable("torn", run.path, run.size, why, run.path)
    for path in sorted((workspace / "runs").glob(f"*/*/.*{stored.REMOVED}*")):
        if path.is_dir() and not path.is_symlink() and not _is_young(path):
            yield Removable("torn", path, _size(path), "its removal was interrupted")


def _readable(run: Path) -> bool:
    try:
        store.load_spec(run)
    except DataError:
        return False
    return True


def _stale(workspace: Path, runs: Sequence[StoredRun], data: Iterable[Path]) -> Iterator[Removable]:
    folders = {path for path in (workspace / "data").glob("*") if path.is_dir()}
    folders |= {Path(path) for path in data}
    lost: set[str] = set()
    for run in runs:
        try:
            root = str(read_json(run.path / store.SPEC)["data_root"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        folders.add(Path(root))
        if not os.path.isdir(root):
            lost.add(root)
    sources = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    why = "no file of the data that runs here use is decoded there"
    if lost:
        why += f" ({', '.join(sorted(lost))} is missing)"
    for path in TileStore(workspace / "store").unused(sources):
        if not _is_young(path):
            yield Removable("store", path, path.stat().st_size, why)


def _temporary(workspace: Path, runs: Sequence[StoredRun]) -> Iterator[Removable]:
    why = "a program was stopped while it wrote"
    for run in runs:
        if run.state != "running":
            for path in sorted(run.path.rglob(".*.tmp")):
                if path.is_file() and not _is_young(path):
                    yield Removable("temporary", path, path.stat().st_size, why, run.path)
    loose = [*workspace.glob(".score-*"), *(workspace / "store").glob("*.tmp")]
    loose += (workspace / "store").glob(".*.tmp")
    for path in sorted(loose):
        if not path.is_symlink() and not _is_young(path):
            yield Removable("temporary", path, _size(path), why)
    for path in sorted((workspace / "runs").glob("*/*/.*")):
        run_dir = path.with_name(path.stem[1:])
        lost = _BESIDE.get(path.suffix)
        if lost and path.is_file() and not run_dir.exists() and not _is_young(path):
            yield Removable("temporary", path, path.stat().st_size, lost, run_dir)


#: what lies beside a run's folder by its name, by suffix: why it may go once the folder has gone
_BESIDE = {
    ".lock": "the run that it locked is gone",
    ".memo": "the run whose checksums it remembered is gone",
}


def _is_young(path: Path) -> bool:
    """Whether it changed so lately that somebody may be at work on it."""
    try:
        return time.time() - path.lstat().st_mtime < LEFT_BEHIND
    except OSError:
        return True


def _size(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(item.lstat().st_size for item in files)


def remove_all(items: Sequence[Removable]) -> tuple[list[Removable], list[str]]:
    """Remove one after the other; what is gone, and a sentence on each that stays."""
    gone, problems = [], []
    for item in items:
        try:
            remove(item)
        except BenchError as error:
            problems.append(str(error))
        else:
            gone.append(item)
    return gone, problems
