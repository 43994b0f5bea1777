"""When Python looks for garbage: cycles of objects that nothing else refers to.

Each search goes through all objects there are. Imported libraries are a million, which never are
garbage: importing torch takes a sixth longer with it, reading a thousand records twice as long, and
a process that trained ends a second later (measured).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import itertools
from collections.abc import Iterator

_ours = False  # this process


@contextlib.contextmanager
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
    """Call first in a process that this program started. Python ends with a search; once all other
    exit functions have run, it finds nothing to look at. Python never promises to call ``__del__``
    of what a cycle holds at the end; files in one are written out.
    """
    global _ours
    _ours = True
    atexit.register(_end)


def spare() -> None:
    """What there is now is left out of further searches, in an ``own_process``. For when
    libraries have been imported, and nothing large been made."""
    if _ours:
        gc.freeze()


def _end() -> None:
    gc.unfreeze()
    objects = gc.get_objects()
    gc.freeze()
    # All files are of the class below, which answers at once; io.IOBase itself is asked slowly.
    files = {kind for kind in set(map(type, objects)) if issubclass(kind, io.IOBase.__bases__)}
    for file in itertools.compress(objects, map(files.__contains__, map(type, objects))):
        with contextlib.suppress(Exception):  # it is closed, or of a stranger's making
            file.flush()
