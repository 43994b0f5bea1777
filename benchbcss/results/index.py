"""Which glances of a workspace's records are kept, in one file of the workspace, so that a board of
ten thousand runs neither parses nor checks ten thousand records.

A glance is kept of a record that the schema accepted, under the marks of its file (size, inode,
times): a record that changed, or was never accepted, is read as if nothing was kept of it, and so
is every record once the code that reads them has changed. The file may be deleted at any time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchbcss import memo, yaml_text
from benchbcss.errors import DataError, UnknownNameError
from benchbcss.io import read_bytes
from benchbcss.results import RESULT, provenance
from benchbcss.results.glance import Shape, Tables, decoder, encode, renumbered, shape_of

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult

FILE = ".board.memo"
#: errors by which a file or a folder is not there
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EBADF}


class Index:
    """The records of a workspace. With ``glance``, those that were read before are glances, and
    ``close`` keeps glances of the others; without it, records are read as they are."""

    def __init__(self, workspace: Path, *, glance: bool) -> None:
        self._path, self.root, self._glance = workspace / FILE, workspace / "runs", glance
        content = memo.read(self._path) if glance else {}
        if content.get("made_by") != provenance.records_digest():
            content = {"runs": {}, "tables": {}, "shape": None}
        self._runs: dict[str, list[Any]] = content["runs"]
        self._tables: dict[str, list[Any]] = content["tables"]
        self._shape = content["shape"] and Shape.from_json(content["shape"])
        if self._shape is not None:
            self._decode = decoder(self._shape, self._tables)
        self._new: dict[str, tuple[list[Any], RunResult]] = {}
        self._seen: set[str] = set()

    def runs(self, suite: str | None = None) -> Iterator[str]:
        """Names of the runs of one ``suite``, or of all, in order: their folders below ``root``."""
        for first in _names(self.root):
            if suite not in (None, first):
                continue
            for second in _names(f"{self.root}/{first}"):
                for third in _names(f"{self.root}/{first}/{second}"):
                    if third[0] != ".":
                        yield f"{first}/{second}/{third}"

    def read(self, name: str) -> tuple[RunResult, str] | None:
        """The record of a run, or a glance of it, and the SHA-256 of its file; None where it has
        none. Raises DataError."""
        run_dir = f"{self.root}/{name}"
        path = f"{run_dir}/{RESULT}"
        try:
            status = _status(path)  # before it is read: later changes leave marks
        except PermissionError as error:  # a colleague's run is no reason to show none
            raise DataError(f"{path}: {error.strerror}") from error
        if status is None:
            return None
        self._seen.add(name)
        kept = self._runs.get(name)
        if kept is not None and kept[0] == memo.marks(status):
            return self._decode(kept[2], _Record(run_dir)), kept[1]
        from benchbcss.results import store

        result, digest = store.read(Path(run_dir))
        if self._glance and memo.settled(status):
            self._new[name] = [memo.marks(status), digest], result
        return result, digest

    def close(self, *, complete: bool) -> None:
        """``complete``: nothing is kept of what was not read, which is there no more."""
        if not self._new:
            return
        from benchbcss.results.schema import RunResult

        shape, tables = self._shape or shape_of(RunResult), Tables()
        before: dict[tuple[str, int], int] = {}

        def number(table: str, old: int) -> int:
            if (table, old) not in before:
                before[table, old] = tables.number(table, self._tables[table][old])
            return before[table, old]

        runs = {}
        for run, (marks, digest, values) in self._runs.items():
            if run not in self._new and (run in self._seen or not complete):
                runs[run] = [marks, digest, renumbered(shape, values, number)]
        for run, (head, result) in self._new.items():
            with suppress(ValueError, RecursionError):  # it would not come back as it is
                runs[run] = [*head, encode(shape, result, tables)]
        content = {
            "made_by": provenance.records_digest(),
            "shape": shape,
            "tables": tables.values,
            "runs": runs,
        }
        with suppress(RecursionError):
            memo.write(self._path, content)


def suite_with_runs(workspace: Path, wanted: str | None) -> str | None:
    """The name of the suite that ``wanted`` names, or of that in the file there, as ``run`` takes
    either. Raises UnknownNameError where others have runs and it has none."""
    known = [name for name in _names(workspace / "runs") if name[0] != "."]
    if wanted is None or wanted in known or not known:
        return wanted
    if wanted.lower().endswith(yaml_text.ENDINGS) and (name := _name_in(Path(wanted))) in known:
        return name
    raise UnknownNameError("suite with runs in this workspace", wanted, known)


def _name_in(file: Path) -> str:
    """Of the suite in a file: that of the file where it says none, or says nothing."""
    with suppress(OSError, ValueError, AttributeError, yaml.YAMLError, RecursionError):
        return str(yaml_text.load(read_bytes(file).decode()).get("name") or file.stem)
    return file.stem


def _names(folder: Path | str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError as error:
        if error.errno in _ABSENT or isinstance(error, PermissionError):
            return []
        raise


def _status(path: str) -> os.stat_result | None:
    """Of a regular file; None where there is none."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    return status if stat.S_ISREG(status.st_mode) else None


class _Record:
    """Reads a record when it is first asked for."""

    __slots__ = ("_result", "_run_dir")

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._result: RunResult | None = None

    def __call__(self) -> RunResult:
        if self._result is None:
            from benchbcss.results import store

            self._result = store.load(Path(self._run_dir))
        return self._result
