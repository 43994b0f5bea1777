"""What was worked out before, kept under a key that says all that it follows from: where anything
differs, it is worked out again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbcss.errors import BenchError
from benchbcss.io import parse_json, read_bytes, sha256, write_bytes

MOST = 64  # answers kept, the latest first
LARGE = 1 << 20  # bytes of a file whose checksum is worth remembering
#: seconds for which a file that changed may change again without its times telling so
_RACE = 2.0


class Memo:
    """Answers by key, in a file with its own checksum: a torn or altered one is no answer. Where it
    cannot be written, everything is as right and as slow as without it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[str, Any] | None = None

    def answer(self, key: str, work_out: Callable[[], Any]) -> Any:
        """What was kept under ``key``, or else what ``work_out`` returns, as plain JSON."""
        if self._answers is None:
            self._answers = read(self.path)
        if key in self._answers:
            return self._answers[key]
        made = json.loads(json.dumps(work_out()))
        self._answers = dict([(key, made), *self._answers.items()][:MOST])
        write(self.path, self._answers)
        return made

    def sha256(self, path: Path) -> str:
        """Of a file's content, in hex. A large file is read again when one of its ``marks`` is
        another. Raises OSError."""
        status = path.stat()
        if status.st_size < LARGE or not settled(status):
            return sha256(path)
        key = "|".join(map(str, (path.name, *marks(status))))
        return str(self.answer(key, lambda: sha256(path)))


def read(path: Path) -> dict[str, Any]:
    """What ``write`` left at ``path``; {} where that is torn, altered, or not there."""
    try:
        check, _, body = read_bytes(path).partition(b"\n")
        content = parse_json(body) if check == _check(body) else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """As JSON below its checksum, atomically; where nothing can be written, nothing is."""
    body = json.dumps(content, separators=(",", ":")).encode()
    with contextlib.suppress(BenchError):
        write_bytes(path, _check(body) + b"\n" + body, listed=False)


def settled(status: os.stat_result) -> bool:
    """Whether a file was left alone for so long that its times will tell of any change to come."""
    return time.time() - max(status.st_mtime, status.st_ctime) > _RACE


def marks(status: os.stat_result) -> list[int]:
    """Size, inode and times of a file: any write makes them others, since no program sets the time
    of the last change of a file."""
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
