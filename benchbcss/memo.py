"""What was worked out before, kept under a key that says all that it follows from: where anything
differs, it is worked out again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbcss.errors import BenchError
from benchbcss.io import read_bytes, sha256, write_bytes

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
            self._answers = _read(self.path)
        if key in self._answers:
            return self._answers[key]
        made = json.loads(json.dumps(work_out()))
        self._answers = dict([(key, made), *self._answers.items()][:MOST])
        body = json.dumps(self._answers).encode()
        with contextlib.suppress(BenchError):
            write_bytes(self.path, _check(body) + b"\n" + body, listed=False)
        return made

    def sha256(self, path: Path) -> str:
        """Of a file's content, in hex. A large file is read again when its size, its inode or one
        of its times is another: no program sets the time of the last change of a file, and any
        write does. Raises OSError."""
        stat = path.stat()
        settled = time.time() - max(stat.st_mtime, stat.st_ctime) > _RACE
        if stat.st_size < LARGE or not settled:
            return sha256(path)
        marks = (path.name, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        return str(self.answer("|".join(map(str, marks)), lambda: sha256(path)))


def _read(path: Path) -> dict[str, Any]:
    try:
        check, _, body = read_bytes(path).partition(b"\n")
        content = json.loads(body) if check == _check(body) else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
