"""A process ends when its work is done, whatever threads strangers' code left running."""

from __future__ import annotations

import os
import sys
import threading
import time

#: seconds that threads get to end by themselves; a tracker may still be sending what it has
PATIENCE = 60.0


def soon(status: int, patience: float = PATIENCE) -> None:
    """Python waits at its end for every thread that is no daemon. From now on for ``patience``
    seconds at most: then the process ends with the exit ``status``, and says what still ran."""
    threading.Thread(target=_end, args=(status, patience), daemon=True, name="leaving").start()


def left_over() -> list[str]:
    """Names of the threads that Python would wait for."""
    return [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]


def _end(status: int, patience: float) -> None:
    time.sleep(patience)
    if left := left_over():
        print(f"note: threads that are still running are ended: {', '.join(left)}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
