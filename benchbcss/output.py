"""Standard output belongs to what a command says; what strangers' code prints goes elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from benchbcss.names import VisibleStream

_one_at_a_time = threading.RLock()  # what is put back must be what was there


@contextmanager
def diverted() -> Iterator[Any]:
    """Standard output, for the harness; meanwhile, what other code and the programs that it starts
    print goes to standard error."""
    with _one_at_a_time:
        given = sys.stdout
        if given is not None:
            given.flush()
        with redirect_stdout(sys.stderr):
            try:
                number = given.fileno()
            except (AttributeError, OSError, ValueError):  # closed, or no file at all
                number = -1
            if number != 1:
                yield given
                return
            kept = os.dup(1)
            os.dup2(2, 1)
            try:
                with open(os.dup(kept), "w", encoding=given.encoding, buffering=1) as plain:
                    yield VisibleStream(plain)
            finally:
                os.dup2(kept, 1)
                os.close(kept)
