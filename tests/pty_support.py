"""Programs in a pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

import pytest

pyte = pytest.importorskip("pyte")

LONGEST = 120.0  # seconds


class Terminal:
    """``arguments`` run by Python in a terminal of so many columns and lines."""

    def __init__(self, *arguments, columns=80, lines=24, **environment):
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = b""
        self.pid, self._handle = pty.fork()
        if not self.pid:
            # shells start background jobs with SIGINT ignored, and tests may be one
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            size = struct.pack("HHHH", lines, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            given = {**os.environ, "COLUMNS": None, "LINES": None, **environment}
            kept = {name: value for name, value in given.items() if value is not None}
            os.execve(sys.executable, [sys.executable, *map(str, arguments)], kept)

    def until(self, condition):
        """Read until ``condition()`` holds."""
        begun = time.monotonic()
        while not condition():
            assert self._read(), f"ended too early: {self.text}"
            assert time.monotonic() - begun < LONGEST, self.text
        while self._ready(0.05):
            self._read()

    def look(self, mark):
        """The screen's lines when the program has made the file ``mark``, which is taken away."""
        self.until(mark.exists)
        lines = self.lines
        mark.unlink()
        return lines

    def resize(self, columns, lines=24):
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def send(self, text):
        os.write(self._handle, text.encode())

    def end(self):
        """Read to the end; the exit status."""
        begun = time.monotonic()
        while self._read():
            assert time.monotonic() - begun < LONGEST, self.text
        _, status = os.waitpid(self.pid, 0)
        os.close(self._handle)
        return os.waitstatus_to_exitcode(status)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    @property
    def lines(self):
        """What is on the screen now."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def text(self):
        """All that was shown and stayed, what has scrolled away first."""
        width = self.screen.columns
        gone = ["".join(line[x].data for x in range(width)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self.screen.display]).rstrip()

    def _ready(self, seconds):
        return bool(select.select([self._handle], [], [], seconds)[0])

    def _read(self):
        """False at the end."""
        if not self._ready(0.05):
            return True
        try:
            data = os.read(self._handle, 65536)
        except OSError:  # Linux says so at the end
            return False
        self.sent += data
        self._stream.feed(data)
        return bool(data)
