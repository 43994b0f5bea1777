"""Files written while training goes on: one at a time, and nothing is lost at the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from benchbcss.inference.guard import lifted


class Background:
    """Does pieces of work in a thread, in their order, one after the other. One more may wait for
    its turn; ``do`` waits where there are two already, since each holds copies in memory.

    An error in a piece of work is raised by the next ``do`` or ``wait``, and what waits behind it
    is not done. Leaving it as a context manager waits. A process that is killed leaves what it
    would have left, had it been killed in the midst of writing at once.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._pieces: deque[Future[None]] = deque()
        self._failed = False
        self.seconds = 0.0  # that all pieces took which are done

    def do(self, work: Callable[[], None]) -> None:
        """Have ``work`` done, and return. Raises what an earlier piece raised."""
        self.wait(leave=1)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="benchbcss-writes")
        self._pieces.append(self._thread.submit(self._timed, work))

    def wait(self, leave: int = 0) -> None:
        """Return when all but ``leave`` pieces are done. Raises what one of them raised."""
        while len(self._pieces) > leave or (self._pieces and self._pieces[0].done()):
            self._pieces.popleft().result()

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except Exception:
            if error is None:  # else it is that which is told
                raise
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _timed(self, work: Callable[[], None]) -> None:
        if self._failed:
            return
        begun = time.monotonic()
        try:
            with lifted():  # it is the harness's own, while a plugin may be predicting
                work()
        except BaseException:
            self._failed = True
            raise
        self.seconds += time.monotonic() - begun
