"""A request to stop: a scheduler's signal before its time limit, or ``benchbcss cancel``.

Everything that a run writes can be continued from, so a request ends the worker at once, except
while the training loop runs: that finishes its step and saves a checkpoint first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: SIGUSR2 is what schedulers are told to send ahead of a limit (NCCL may take SIGUSR1)
SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
#: seconds that a worker may take to save what it has done, before it is ended
STOPPING = 30.0
#: exit status of a worker that stopped on request and can be continued
STOPPED = 76


class StopRequested(BaseException):
    """The run stops here and can be continued. No Exception, so that no handler swallows it."""


_asked = threading.Event()
_deferred = threading.Event()


def listen() -> None:
    """Obey ``SIGNALS`` from now on; called by the main thread of a worker."""
    for number in SIGNALS:
        signal.signal(number, _heard)


def _heard(number: int, frame: FrameType | None) -> None:
    _asked.set()
    if not _deferred.is_set():
        raise StopRequested(signal.Signals(number).name)


def asked() -> bool:
    """Whether a request has come."""
    return _asked.is_set()


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, a request only makes ``asked`` true; one that nobody obeyed is obeyed at the end."""
    _deferred.set()
    try:
        yield
    finally:
        _deferred.clear()
    if asked():
        raise StopRequested
