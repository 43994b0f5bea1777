"""Threads for one ROI's parts or for ROIs side by side: numpy, OpenCV and Pillow let others run
while they count."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from benchbcss.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4  # threads for one ROI: further ones mostly wait for the interpreter
_here = threading.local()


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
    if not worth or getattr(_here, "alone", False) or (threads := min(MOST, cores())) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], sizes: Sequence[int], most: int
) -> Iterator[Result]:
    """``work`` done to ``items`` side by side, one on each core; results in the items' order.

    The sizes of those under way sum to at most ``most``; a larger item is worked on by itself. The
    first error is raised once those under way have ended, and no further item is begun.
    """
    if len(items) < 2 or (threads := min(cores(), len(items))) < 2:
        yield from map(work, items)
        return

    def working(item: Item) -> Result:
        with alone():
            return work(item)

    begun: deque[tuple[Future[Result], int]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item, size in zip(items, sizes, strict=True):
            while busy := [(future, held) for future, held in begun if not future.done()]:
                if len(busy) < threads and sum(held for _, held in busy) + size <= most:
                    break
                wait([future for future, _ in busy], return_when=FIRST_COMPLETED)
            while begun and begun[0][0].done():
                yield begun.popleft()[0].result()
            begun.append((pool.submit(working, item), size))
        while begun:
            yield begun.popleft()[0].result()
