"""What a worker is doing, kept fresh in ``status.json`` and told in its log."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from benchbcss import interrupt
from benchbcss.errors import BenchError
from benchbcss.io import write_json
from benchbcss.progress import Count, Progress
from benchbcss.results import store
from benchbcss.results.heartbeat import plain

HEARTBEAT_SECONDS = 2.0
#: seconds between two heartbeats while something is counted
COUNTING_SECONDS = 1.0


class Stage(Progress):
    """The worker's side of ``status.json``. A thread writes it, so that counting costs a step
    nothing; a new stage is written at once."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / store.STATUS
        self._beats = count()
        self.name = "starting"
        self.detail: dict[str, Any] = {}
        self._counts: list[Count] = []
        self._parent = os.getppid()
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()

    def __call__(self, name: str, **detail: Any) -> None:
        self.name, self.detail = name, detail
        self._write()
        words = " ".join(f"{key}={value}" for key, value in detail.items())
        print(f"[{time.strftime('%H:%M:%S')}] {name} {words}", flush=True)

    def note(self, text: str) -> None:
        print(f"note: {text}", flush=True)

    @contextmanager
    def counting(self, total: int | None, unit: str = "ROI", doing: str = "") -> Iterator[Count]:
        mine = Count(total, unit, doing)
        self._counts = [*self._counts, mine]
        try:
            yield mine
        finally:
            self._counts = [other for other in self._counts if other is not mine]

    def stop(self) -> None:
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(COUNTING_SECONDS if self._counts else HEARTBEAT_SECONDS):
            self._write()
            if os.getppid() != self._parent:  # the controller died: do not train for nobody
                os.kill(os.getpid(), signal.SIGTERM)  # what was trained is saved
                time.sleep(interrupt.STOPPING)
                os._exit(1)

    def _write(self) -> None:
        content = {
            "stage": self.name,
            "pid": os.getpid(),
            "host": socket.gethostname(),  # where that number means something
            "time": time.time(),
        }
        try:
            with self._writing:  # both threads use one temporary file
                beat = {"beat": next(self._beats)}
                write_json(
                    self.path,
                    {**content, **beat, **plain(self._counts), **self.detail},
                    listed=False,
                )
        except BenchError:
            pass  # a lost heartbeat is no reason to lose the run
