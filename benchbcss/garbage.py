"""When Python looks for garbage: cycles of objects that nothing else refers to.

Each search goes through all objects there are. Imported libraries are a million, which never are
garbage: importing torch takes a sixth longer with it, reading a thousand records twice as long, and
a process that trained ends a second later (measured).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_may_spare = False  # in this process, which has not done so


@contextmanager
def put_off() -> Iterator[None]:
    """No search meanwhile, for what makes many objects that stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def own_process() -> None:
    """Call first in a process that this program started, and that is all its own."""
    global _may_spare
    _may_spare = True


def spare() -> None:
    """What there is now is left out of further searches, also of that by which Python ends: for
    when libraries have been imported, and nothing been made with them that may become garbage.
    Does so once, in an ``own_process``; what others hold there is not ours to keep."""
    global _may_spare
    if _may_spare:
        _may_spare = False
        gc.freeze()
