"""Which glances of a workspace's records are kept, in one file of the workspace, so that a board of
ten thousand runs neither parses nor checks ten thousand records.

A glance is kept of a record that the schema accepted, under the marks of its file (size, inode,
times): a record that changed, or was never accepted, is read as if nothing was kept of it, and so
is every record once the code that reads them has changed. The file may be deleted at any time.
"""

from __future__ import annotations

import errno
import json
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
from benchbcss.results.glance import KEPT, Shape, decode, encode, shape_of

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult

FILE = ".board.memo"
#: parts that many runs have alike, written once for all of them; they are kept whole, since there
#: is no one run whose record could be asked for more
SHARED = ("suite", "label_map", "split", "data", "weights", "recipe")
#: errors by which a file or a folder is not there
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EBADF}
_PLACES = [(name, KEPT["RunResult"].index(name)) for name in SHARED]


class Index:
    """The records of a workspace. With ``glance``, those that were read before are glances, and
    ``close`` keeps glances of the others; without it, records are read as they are."""

    def __init__(self, workspace: Path, *, glance: bool) -> None:
        self._path, self.root, self._glance = workspace / FILE, workspace / "runs", glance
        content = memo.read(self._path) if glance else {}
        if content.get("made_by") != provenance.records_digest():
            content = {"runs": {}, "shared": {name: [] for name in SHARED}, "shape": None}
        self._runs: dict[str, list[Any]] = content["runs"]
        self._shared: dict[str, list[Any]] = content["shared"]
        self._shape = content["shape"] and Shape.from_json(content["shape"])
        self._new: dict[str, list[Any]] = {}
        self._seen: set[str] = set()
        if self._shape is not None:
            inner = {name: shape for _, name, _, shape in self._shape.parts if name in SHARED}
            self._views = {
                name: [decode(inner[name], value) if name in inner else value for value in values]
                for name, values in self._shared.items()
            }
            unshared = [part for part in self._shape.parts if part[1] not in SHARED]
            self._unshared_shape = self._shape._replace(parts=unshared)

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
            return self._view(run_dir, kept[2]), kept[1]
        from benchbcss.results import store

        result, digest = store.read(Path(run_dir))
        if self._glance and memo.settled(status):
            self._keep(name, [memo.marks(status), digest], result)
        return result, digest

    def close(self, *, complete: bool) -> None:
        """``complete``: nothing is kept of what was not read, which is there no more."""
        if not self._new:
            return
        shared = _Shared()
        runs = {}
        for run, (marks, digest, values) in self._runs.items():
            if run in self._new or (complete and run not in self._seen):
                continue
            parts = [self._shared[name][values[place]] for name, place in _PLACES]
            runs[run] = [marks, digest, shared.without(values, parts)]
        for run, (marks, digest, values) in self._new.items():
            with suppress(ValueError, RecursionError):  # it would not come back as it is
                parts = [values[place] for _, place in _PLACES]
                runs[run] = [marks, digest, shared.without(values, parts)]
        content = {
            "made_by": provenance.records_digest(),
            "shape": self._shape,
            "shared": shared.parts,
            "runs": runs,
        }
        with suppress(RecursionError):
            memo.write(self._path, content)

    def _keep(self, name: str, head: list[Any], result: RunResult) -> None:
        from benchbcss.results.schema import RunResult

        if self._shape is None:
            self._shape = shape_of(RunResult)
        self._new[name] = [*head, encode(self._shape, result)]

    def _view(self, run_dir: str, kept: list[Any]) -> Any:
        values = list(kept)
        for name, place in _PLACES:
            values[place] = self._views[name][values[place]]
        return decode(self._unshared_shape, values, _Record(run_dir))


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


class _Shared:
    """Numbers of shared parts; those that are equal have the same."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Any]] = {name: [] for name in SHARED}
        self._numbers: dict[tuple[str, str], int] = {}

    def without(self, values: list[Any], parts: list[Any]) -> list[Any]:
        """``values`` with numbers in place of ``parts``. Raises ValueError for what is no JSON."""
        values = list(values)
        for (name, place), part in zip(_PLACES, parts, strict=True):
            key = name, json.dumps(part, allow_nan=False)
            number = self._numbers.setdefault(key, len(self.parts[name]))
            if number == len(self.parts[name]):
                self.parts[name].append(part)
            values[place] = number
        return values


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
