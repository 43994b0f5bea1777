"""Files appear whole or not at all: write beside, then rename."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchbcss.errors import DataError, RunError

if TYPE_CHECKING:
    import numpy as np


def write_bytes(path: Path, data: bytes) -> None:
    """Atomic write. A full disk is a RunError naming the path; the old file stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror}. Free space, run again: "
            f"what is finished is kept."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Atomic, indented, without NaN (a NaN is a ValueError: results carry null and a reason)."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Coded(NamedTuple):
    """A column of text: ``names[codes[i]]`` is row i."""

    codes: np.ndarray
    names: Sequence[str]


def write_table(path: Path, columns: Mapping[str, np.ndarray | Coded]) -> None:
    """Parquet of equally long columns [N]; text is dictionary-encoded. Atomic."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.DictionaryArray.from_arrays(
            pa.array(values.codes, pa.int32()), pa.array(list(values.names), pa.string())
        )
        if isinstance(values, Coded)
        else pa.array(values)
        for name, values in columns.items()
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a parquet file, text as objects. Raises DataError for a torn one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(f"{path} cannot be read: {reason}. Run: benchbcss rescore") from error
    columns = {}
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
