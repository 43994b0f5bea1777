"""``epochs.jsonl``: one line of JSON per epoch, in order, each epoch once; when training has ended,
with a checksum."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchbcss.errors import RunError
from benchbcss.io import write_bytes

NAME = "epochs.jsonl"


class EpochLog:
    """The log of one run at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def restart(self, records: Iterable[dict[str, Any]]) -> None:
        """Hold exactly ``records``, the epochs that a checkpoint has, and nothing after it.

        Epochs after the checkpoint are trained again when a run is resumed, and would otherwise be
        logged again; a line torn by a kill goes as well. Atomic.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Lines are appended to it, so that no checksum of it would hold.
        write_bytes(self.path, "".join(map(_line, records)).encode(), listed=False)

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        """Nothing is appended any more: hold exactly ``records``, listed with a checksum."""
        write_bytes(self.path, "".join(map(_line, records)).encode())

    def append(self, record: dict[str, Any]) -> None:
        """Add one epoch. Raises RunError where the file cannot be written, ValueError for NaN."""
        line = _line(record)
        try:
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(line)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror}. Free space, run again: "
                f"training continues from its last checkpoint."
            ) from error


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
