"""Parts of one ROI on several threads: numpy, OpenCV and Pillow let others run while they count."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4  # threads for one ROI: further ones mostly wait for the interpreter
_here = threading.local()


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


@contextmanager
def alone() -> Iterator[None]:
    """Within it this thread works by itself: others are busy with ROIs of their own."""
    before = getattr(_here, "alone", False)
    _here.alone = True
    try:
        yield
    finally:
        _here.alone = before


def on_threads(
    work: Callable[[Item], Result], items: Iterable[Item], worth: bool
) -> Iterator[Result]:
    """``work`` done to each of ``items``, in their order; on threads where that is ``worth``
    starting them and this thread is not ``alone``."""
    threads = min(MOST, cores())
    if not worth or threads < 2 or getattr(_here, "alone", False):
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)
