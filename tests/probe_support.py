"""Commands called in this process, as ``benchbcss`` would answer in a process of its own; and
things that may lie where a file is expected."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import signal
import socket
import sys
from dataclasses import dataclass
from unittest import mock

import pytest

from benchbcss.cli import main


@pytest.fixture(autouse=True)
def no_charts(monkeypatch):
    """What a report does with damage is probed; drawing takes seconds, and is tested elsewhere."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" viewBox="0 0 9 9"></svg>'
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda chart: svg)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def fault(self) -> str | None:
        """What is wrong with it, whatever was asked for; None where nothing is."""
        lines = self.err.splitlines()
        errors = [line for line in lines if re.match(r"error: (?!\d+ of \d+ )", line, re.I)]
        failed = re.search(r"^error: (\d+) of \d+ runs", self.err, re.M)  # each has a line
        if "Traceback" in self.err + self.out:
            return "a traceback"
        if self.code not in (0, 1, 2, 3):
            return f"exit code {self.code}"
        if len(errors) > (int(failed[1]) if failed else 1):
            return "more than one error"
        if self.code == 2 and not lines:
            return "refused without a word"
        if errors and self.code in (0, 3):
            return f"an error, and exit code {self.code}"
        if "\x1b" in self.out + self.err:
            return "an escape for the terminal"
        return None


class Hang(BaseException):
    pass


def _hang(*_):
    raise Hang


class Refusing(io.StringIO):
    """A stream behind which nobody reads."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def fileno(self) -> int:
        return 1  # rich asks for it, to close it


def in_time(call, seconds=120):
    """What ``call`` returns. Raises Hang where it takes longer than ``seconds``."""
    before = signal.signal(signal.SIGALRM, _hang)
    signal.alarm(seconds)
    try:
        with mock.patch.multiple(sys, stdout=sys.stdout, stderr=sys.stderr):  # programs wrap them
            return call()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()


def invoke(*arguments, out=None, err=None) -> Answer:
    """The answer of ``benchbcss ARGUMENTS``. Raises what the program raises, and Hang."""
    out, err = out or _Text(), err or _Text()
    argv = ["benchbcss", *(os.fsdecode(argument) for argument in map(_plain, arguments))]
    code = 0
    try:
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.object(os, "dup2"),  # the streams beneath these are pytest's
            mock.patch.object(sys, "stdin", io.StringIO()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            in_time(main.main)
    except SystemExit as done:
        code = done.code or 0
    return Answer(code, _written(out), _written(err))


class _Text(io.TextIOWrapper):
    """As Python opens standard output: strict UTF-8."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")


def _plain(argument):
    return argument if isinstance(argument, (str, bytes)) else os.fspath(argument)


def _written(stream) -> str:
    if isinstance(stream, Refusing):
        return ""
    stream.flush()
    return stream.buffer.getvalue().decode()


def fault_of(*arguments, **options) -> str | None:
    """What is wrong with the answer to ``benchbcss ARGUMENTS``, in words; None where it is an
    answer as it should be."""
    try:
        answer = invoke(*arguments, **options)
    except Hang:
        return "it hangs"
    except Exception as error:
        return f"a traceback: {type(error).__name__}: {error}"
    fault = answer.fault()
    return fault and f"{fault}: {answer.out[-300:]}{answer.err[-600:]}"


# -- what may lie where a file is expected ---------------------------------------------------------


def _socket(path):
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)  # by its name alone: an address is short


def _circle(path):
    other = path.with_name(f"{path.name[:40]}.circle")
    path.symlink_to(other.name)
    other.symlink_to(path.name)


#: of every field that is read from a file of a run
WRONG = """{"stage": [1], "time": "x", "pid": null, "beat": {}, "executor": 3, "jobs": 5,
"reason": {}, "schema_version": 3, "tracks": 7, "semantic": [], "epoch": "0", "notes": 1}"""
SHAPES = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "socket": _socket,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nothing/here"),
    "circular link": _circle,
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "brackets": lambda path: path.write_bytes(b"[" * 100_000),
    "list": lambda path: path.write_text("[null]"),
    "wrong types": lambda path: path.write_text(WRONG),
}


def become(path, shape) -> None:
    """Put ``shape`` in the place of ``path``."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}.was"))
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    SHAPES[shape](path)
