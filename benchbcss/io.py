"""Files appear whole or not at all: write beside, then rename."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from benchbcss.errors import RunError


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
