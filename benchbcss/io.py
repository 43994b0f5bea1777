"""Files appear whole or not at all, and are known again: written beside, synced, listed, renamed.

A folder that holds ``files.sha256`` (a run does) lists in it what was written below, as
``sha256sum`` does. A line is added before its file appears: whenever the power fails, a file is
either listed or damaged.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchbcss.errors import DataError, RunError
from benchbcss.temporary import beside

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SUMS = "files.sha256"
_DEPTH = 4  # folders above a file in which its list is looked for
State = Literal["ok", "altered", "unlisted", "missing"]

_REMEDIES = {
    errno.ENOSPC: "Free space, run again: what is finished is kept.",
    errno.EDQUOT: "Free space in your quota, run again: what is finished is kept.",
    errno.EROFS: "It lies on a read-only file system: choose another --workspace.",
    errno.EACCES: "Make it writable, or choose another --workspace.",
    errno.EPERM: "Make it writable, or choose another --workspace.",
    errno.ENAMETOOLONG: "Use shorter names, or a --workspace with a shorter path.",
    errno.EISDIR: "A folder lies where a file should be: move it, or choose another --workspace.",
    errno.EEXIST: "A file lies where a folder should be: move it, or choose another --workspace.",
    errno.ELOOP: "A symbolic link leads back to itself: remove it.",
    errno.ENXIO: "Nobody reads from it: write to a file.",
    errno.EFBIG: "The limit on the size of files is reached: raise it (ulimit -f), run again.",
    errno.EMFILE: "Too many files are open: raise the limit (ulimit -n), run again.",
    errno.ENOTDIR: "A file lies where a folder should be: move it, or choose another --workspace.",
}


def remedy(error: OSError) -> str:
    """What to do about a file that cannot be written, as a sentence."""
    return _REMEDIES.get(error.errno or 0, "Check the path and its disk, then run again.")


def sentence(error: OSError) -> str:
    """Which file, what is wrong with it, what to do."""
    where = os.fsdecode(error.filename) if error.filename else "standard output"
    return f"{where} cannot be used: {error.strerror or error}. {remedy(error)}"


def write_bytes(path: Path, data: bytes, *, listed: bool = True) -> str:
    """Atomic and synced; returns its SHA-256. Added to the list of checksums above it, unless
    ``listed`` is False (a heartbeat). A full or read-only disk is a RunError naming the path; the
    old file stays."""
    digest = hashlib.sha256(data).hexdigest()
    temporary = beside(path)
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if listed:
            _list(path, digest)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}. {remedy(error)}") from error
    finally:
        _discard(temporary)
    return digest


def write_output(path: Path, data: bytes) -> None:
    """What a user asked for at ``path``: a file appears whole, where a link leads; a device or a
    pipe (/dev/stdout, /dev/null) is written to, and stays what it is. Raises RunError."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError:  # it is not there, or cannot be: then writing says why
        kind = stat.S_IFREG
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        write_bytes(path, data)
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # a pipe that nobody reads is no wait
        os.set_blocking(handle, True)
        with open(handle, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}. {remedy(error)}") from error


def move(path: Path, target: Path, digest: str) -> None:
    """Rename a file whose checksum is ``digest``; the list of checksums knows it by both names."""
    try:
        _list(target, digest)
        os.replace(path, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror}. {remedy(error)}") from error


def _discard(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # what made writing fail makes this fail too, and is told already
        pass


def _sync_folder(folder: Path) -> None:
    """So that the rename outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems cannot sync folders
        pass
    finally:
        os.close(handle)


def write_json(path: Path, value: Any, *, listed: bool = True) -> None:
    """Atomic, indented, without NaN (a NaN is a ValueError: results carry null and a reason)."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    # what is no UTF-8 in the name of a folder is then an escape of JSON
    write_bytes(path, (text + "\n").encode("utf-8", "backslashreplace"), listed=listed)


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_bytes(path: Path) -> bytes:
    """Of a regular file. OSError for anything else: a pipe would be waited for without end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """Raises OSError, and ValueError for what is no JSON."""
    return parse_json(read_bytes(path).decode("utf-8"))


def parse_json(
    text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Raises ValueError for what is no JSON, or is nested without end; ``pairs`` makes what it
    likes of each object."""
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


# -- the list of checksums -------------------------------------------------------------------------


def begin_list(folder: Path) -> None:
    """List, from now on, what is written below ``folder``, and remove left-over temporary files.

    An older list keeps its lines of files that are there and as they were written. Only the owner
    of the folder calls this.
    """
    for leftover in folder.rglob(".*.tmp"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)
    lines = []
    for name in _sums(folder):
        path = folder / name
        if check(path) == "ok":
            lines.append(f"{sha256(path)}  {name}\n")
    write_bytes(folder / SUMS, os.fsencode("".join(sorted(lines))), listed=False)


def ensure_list(folder: Path) -> None:
    """Have a list of checksums in ``folder``, an empty one where there is none."""
    if not (folder / SUMS).is_file():
        write_bytes(folder / SUMS, b"", listed=False)


def trusted(path: Path) -> bool:
    """Whether ``path`` is there as it was written, or nothing lists what is written there."""
    state = check(path)
    return state == "ok" or (state == "unlisted" and _listing_folder(path) is None)


def listed(folder: Path) -> list[str]:
    """Names of the files that are listed in ``folder``, relative to it."""
    return sorted(_sums(folder))


def check(path: Path, digest: Callable[[Path], str] = sha256) -> State:
    """Whether ``path`` is as it was written: 'ok', 'altered', 'missing', or 'unlisted' where no
    list of checksums knows it. ``digest`` reads a file's SHA-256."""
    if not path.is_file():
        return "missing"
    folder = _listing_folder(path)
    digests = _sums(folder).get(_relative(path, folder)) if folder else None
    if not digests:
        return "unlisted"
    try:
        return "ok" if digest(path) in digests else "altered"
    except OSError:
        return "altered"


def verify(path: Path, advice: str) -> None:
    """Raise DataError, naming the file and ``advice``, where it is not as it was written."""
    if check(path) == "altered":
        raise DataError(f"{path} is damaged: it is not what was written there. {advice}")


def _list(path: Path, digest: str) -> None:
    folder = _listing_folder(path)
    if folder is None:
        return
    line = f"{digest}  {_relative(path, folder)}\n"
    handle = os.open(folder / SUMS, os.O_WRONLY | os.O_APPEND)
    try:
        # A line torn by a power cut must not swallow this one.
        if os.fstat(handle).st_size and not _ends_with_newline(folder / SUMS):
            line = "\n" + line
        os.write(handle, os.fsencode(line))
        os.fsync(handle)
    finally:
        os.close(handle)


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"


def _listing_folder(path: Path) -> Path | None:
    """The nearest folder above ``path`` that lists checksums."""
    above = list(path.parents)[:_DEPTH]
    return next((folder for folder in above if (folder / SUMS).is_file()), None)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _sums(folder: Path) -> Mapping[str, frozenset[str]]:
    """Name -> every checksum listed for it: the last one, and one that was about to come."""
    path = folder / SUMS
    try:
        status = path.stat()
    except OSError:
        return {}
    if not stat.S_ISREG(status.st_mode):
        return {}
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _parsed(path: Path, changed: int, size: int) -> Mapping[str, frozenset[str]]:
    known: dict[str, frozenset[str]] = {}
    for line in os.fsdecode(path.read_bytes()).split("\n"):
        digest, apart, name = line.partition("  ")
        if apart and len(digest) == 64:
            known[name] = known.get(name, frozenset()) | {digest}
    return known


# -- tables ----------------------------------------------------------------------------------------

_RESCORE = "Run: benchbcss rescore"
AGAIN = "Run the command that made it once more: what is damaged is made anew"


class Coded(NamedTuple):
    """A column of text: ``names[codes[i]]`` is row i."""

    codes: np.ndarray
    names: Sequence[str]


def write_table(path: Path, columns: Mapping[str, np.ndarray | Coded]) -> None:
    """Parquet of equally long columns [N]; text is dictionary-encoded. Atomic."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.DictionaryArray.from_arrays(_plain(values.codes, "i4"), _text(values.names))
        if isinstance(values, Coded)
        else _plain(values, values.dtype)
        for name, values in columns.items()
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def _plain(values: np.ndarray, dtype: Any) -> pa.Array:
    """Numbers or truths [N] as they are: ``pa.array`` would import pandas, to see whether they are
    a Series, and with it half a second and 46 MB that a run has no other use for."""
    import numpy as np
    import pyarrow as pa

    kind, data = pa.from_numpy_dtype(dtype), np.ascontiguousarray(values, dtype)
    if data.dtype == bool:
        data = np.packbits(data, bitorder="little")
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])


def _text(names: Sequence[str]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    encoded = [name.encode() for name in names]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    )


class _Columns(dict[str, "np.ndarray"]):
    def __init__(self, path: Path, advice: str) -> None:
        self.path, self.advice = path, advice

    def __missing__(self, name: str) -> np.ndarray:
        raise DataError(f"{self.path} has no column '{name}'. {self.advice}")


def read_table(path: Path, advice: str = _RESCORE) -> dict[str, np.ndarray]:
    """The columns of a parquet file, text as objects. Raises DataError, with ``advice``, for a torn
    or altered one, and for a column that is asked for and not there."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    verify(path, advice)
    if not path.exists():
        raise DataError(f"{path} is missing. {advice}")
    if not path.is_file():  # a folder would be read as a table of many files
        raise DataError(f"{path} is no regular file. {advice}")
    try:
        table = pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(f"{path} cannot be read: {reason}. {advice}") from error
    columns = _Columns(path, advice)
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_string(column.type):
            column = column.dictionary_encode()
        if pa.types.is_dictionary(column.type):
            names = np.array(column.dictionary.to_pylist(), dtype=object)
            columns[name] = names[column.indices.to_numpy(zero_copy_only=False)]
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns
