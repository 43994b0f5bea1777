"""Keeps ground truth out of reach while plugin code runs: files, listings, processes, connections.

While a ``Guard`` is up, opening, listing or changing anything under its places raises in the code
that tried, as does starting a process or connecting a socket where these are refused too (what a
process reads cannot be seen from here). Whatever the plugin makes of that, the harness raises a
``PluginError`` naming the path as soon as the plugin's code returns.

This guards against mistakes and temptation. It is no sandbox: it rests on Python's audit hooks,
which see Python's own calls (also those of numpy, Pillow and pathlib) but no file that compiled
code opens by itself, and a plugin runs in the harness's process. Threads that ran before the guard
went up are the harness's and trackers' and go on undisturbed, unless a guarded plugin began them.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchbcss.errors import PluginError
from benchbcss.inference.process import Settings

#: audit event -> what it does, and which of its arguments are paths
_FILES: dict[str, tuple[str, tuple[int, ...]]] = {
    "open": ("open", (0,)),
    "os.listdir": ("list", (0,)),
    "os.scandir": ("list", (0,)),
    "os.chdir": ("enter", (0,)),
    "os.link": ("link", (0, 1)),
    "os.symlink": ("link", (0, 1)),
    "os.rename": ("rename", (0, 1)),
    "os.remove": ("delete", (0,)),
    "os.rmdir": ("delete", (0,)),
    "os.mkdir": ("create", (0,)),
    "os.truncate": ("change", (0,)),
    "os.chmod": ("change", (0,)),
    "os.chown": ("change", (0,)),
    "os.utime": ("change", (0,)),
    "sqlite3.connect": ("open", (0,)),
}
_PROCESSES = {
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty"),
    *("os.posix_spawn", "os.spawn", "os.startfile"),
}
# not bind: some libraries bind a socket when they are imported, to learn what the host can do
_CONNECTIONS = {
    *("socket.connect", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
}


class ForbiddenAccess(BaseException):
    """Raised inside the plugin; a BaseException, so that ``except Exception`` cannot hide it."""


class Guard:
    """Places that plugin code may not touch: {path: what it is, such as 'the data folder'}.

    ``outward`` refuses processes and connections too. Files of this Python's own (its library, and
    packages on its path) and of the user's caches stay readable where they lie under a place, since
    modules are imported late.
    """

    def __init__(self, places: Mapping[Path, str], *, outward: bool = True) -> None:
        self.outward = outward
        self.attempts: list[str] = []
        self.changed: dict[str, list[str]] = {}  # what was put back, by what was done
        self._outside: set[int | None] = set()
        names = {_real(path): name for path, name in places.items()}
        self._rules: dict[str, str | None] = {path: None for path in _python() if path not in names}
        self._rules.update(names)

    def allow(self, path: Path) -> None:
        """A file that may be read wherever it lies."""
        self._rules[_real(path)] = None

    def place(self, path: str) -> str | None:
        """What ``path`` (absolute, links resolved) belongs to that is out of reach, or None. The
        innermost folder that has a rule decides."""
        while True:
            if path in self._rules:
                return self._rules[path]
            above = os.path.dirname(path)
            if above == path:
                return None
            path = above

    @contextmanager
    def up(self, doing: str) -> Iterator[None]:
        """Run plugin code under the guard. ``doing`` says which. Raises PluginError in one
        sentence for what was attempted, whether or not the plugin let it pass. What the code
        leaves changed of the process (see ``Settings``) is put back, and said once."""
        _install()
        settings = Settings.now()
        attempts: list[str] = []
        self.attempts = attempts
        before = set(threading.enumerate())
        here = threading.get_ident()
        outside = {thread.ident for thread in before if thread not in _theirs} - {here}
        self._outside = outside
        depth, _harness.depth = getattr(_harness, "depth", 0), 0
        _up.append(self)
        try:
            yield
        except BaseException as error:
            if attempts:
                raise PluginError(_sentence(doing, attempts)) from error
            raise
        finally:
            _up.pop()
            _harness.depth = depth
            self._say(doing, settings.put_back())
            _theirs.update(set(threading.enumerate()) - before)
        if attempts:
            raise PluginError(_sentence(doing, attempts))

    def _say(self, doing: str, changed: list[str]) -> None:
        if changed and doing not in self.changed:
            self.changed[doing] = changed
            print(
                f"warning: while {doing} the plugin changed {' and '.join(changed)}; it was put "
                f"back",
                file=sys.stderr,
            )

    def refuse(self, event: str, args: tuple[Any, ...]) -> None:
        """Raise ForbiddenAccess where ``event`` is out of reach."""
        if threading.get_ident() in self._outside or getattr(_harness, "depth", 0) > 0:
            return
        attempt = self._attempt(event, args)
        if attempt is not None:
            self.attempts.append(attempt)
            raise ForbiddenAccess(attempt)

    def _attempt(self, event: str, args: tuple[Any, ...]) -> str | None:
        if event in _FILES:
            verb, positions = _FILES[event]
            for path in (_path(args[at]) for at in positions if at < len(args)):
                name = None if path is None else self.place(path)
                if name is not None:
                    return f"{verb} {path}, which is in {name}"
        elif self.outward and event in _PROCESSES:
            return f"start a process{_shown(args[:2])}"
        elif self.outward:
            return f"open a connection{_shown(args[:1] if '.get' in event else args[-1:])}"
        return None


def _sentence(doing: str, attempts: list[str]) -> str:
    again = len(attempts) - 1
    more = f" ({again} more attempts)" if again else ""
    return (
        f"while {doing} it tried to {attempts[0]}{more}; it must work from what it is given, and "
        f"read files of its own in build()"
    )


@contextmanager
def lifted() -> Iterator[None]:
    """For the harness's own code that a plugin calls: it may read what the plugin may not."""
    _harness.depth = getattr(_harness, "depth", 0) + 1
    try:
        yield
    finally:
        _harness.depth -= 1


_up: list[Guard] = []
_theirs: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # begun by guarded code
_harness: Any = threading.local()
_events = frozenset(_FILES) | _PROCESSES | _CONNECTIONS
_installed = False


def _install() -> None:
    """Once per process: an audit hook cannot be removed, so it looks whether a guard is up."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _up and event in _events:
        _up[-1].refuse(event, args)


def _path(value: Any) -> str | None:
    """The absolute path of a path or file descriptor, links resolved; None for standard streams."""
    if isinstance(value, int):
        return _real(f"/proc/self/fd/{value}") if value > 2 else None
    if value is None:  # os.listdir() and os.scandir() of the working directory
        return _real(".")
    return _real(value) if isinstance(value, (str, bytes, os.PathLike)) else None


def _real(path: Any) -> str:
    return os.path.realpath(os.fsdecode(path))


def _python() -> set[str]:
    """Where this Python, its packages and the user's caches lie."""
    caches = [os.environ.get(name) for name in ("XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME")]
    home = os.path.expanduser("~")
    caches += [os.path.join(home, name) for name in (".cache", ".triton", ".nv")]
    places = [sys.prefix, sys.base_prefix, *sys.path, *caches]
    return {_real(place) for place in places if place and os.path.isabs(place)}


def _shown(args: tuple[Any, ...]) -> str:
    """A command line or an address in brackets, short; nothing where there is none."""
    for value in reversed(args):
        if isinstance(value, (list, tuple)):
            value = " ".join(part if isinstance(part, str) else str(part) for part in value)
        elif isinstance(value, bytes):
            value = os.fsdecode(value)
        if value:
            return f" ({str(value)[:80]})"
    return ""
