"""What a board worked out before, kept in the workspace under the digest of all that it follows
from: where anything differs, it is worked out again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbcss.errors import BenchError
from benchbcss.io import read_bytes, write_bytes

MOST = 64  # answers kept, the latest first


class Memo:
    """Answers by key, in a file with its own checksum: a torn or altered one is no answer. Where it
    cannot be written, boards are as right and as slow as without it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers = _read(path)

    def answer(self, key: str, work_out: Callable[[], Any]) -> Any:
        """What was kept under ``key``, or else what ``work_out`` returns, as plain JSON."""
        if key in self._answers:
            return self._answers[key]
        made = json.loads(json.dumps(work_out()))
        self._answers = dict([(key, made), *self._answers.items()][:MOST])
        body = json.dumps(self._answers).encode()
        with contextlib.suppress(BenchError):
            write_bytes(self.path, _check(body) + b"\n" + body, listed=False)
        return made


def _read(path: Path) -> dict[str, Any]:
    try:
        check, _, body = read_bytes(path).partition(b"\n")
        content = json.loads(body) if check == _check(body) else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
