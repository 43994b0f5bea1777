"""A name is a name: what suites, backends, runs and ROIs may be called, and text made safe to show.

Names become folders and cells, and some come from files that strangers wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TextIO

from benchbcss.errors import DataError

LONGEST = 100  # bytes of a folder's name; file systems allow 255, and a path has several
LONGEST_FILE = 255
#: what Windows keeps for devices, whatever the ending
RESERVED = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10)}

# C0 and C1 but for tab, newline and return; marks that turn the direction of writing; the halves
# that stand for bytes that are no UTF-8
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# what this program itself writes to a terminal through such a stream: colours
_OURS = re.compile("\x1b\\[[0-9;]*m")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def problem(name: str) -> str | None:
    """Why ``name`` cannot be a suite's, backend's or run's, or None: it becomes a folder's."""
    common = _problem(name, LONGEST)
    if common:
        return common
    if name.strip() != name or name.startswith((".", "-", "~")) or name.endswith("."):
        return "it begins or ends with a space, dot, dash or tilde"
    if bad := re.search(r'[:*?"<>|]', name):
        return f"it holds {bad[0]!r}"
    if name.partition(".")[0].lower() in RESERVED:
        return "operating systems keep that name for a device"
    return None


def _problem(name: str, longest: int) -> str | None:
    if not name.strip():
        return "it is empty"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "it is a path"
    if _CONTROL.search(name) or any(mark in name for mark in "\t\n\r"):
        return "it holds control characters, or bytes that are no UTF-8"
    if len(name.encode()) > longest:
        return f"it is longer than {longest} bytes"
    return None


def validator(kind: str) -> Callable[[str], str]:
    """For a model's field: a name as it is, or ValueError saying why it cannot be a ``kind``'s."""

    def validate(name: str) -> str:
        if why := problem(name):
            raise ValueError(f"{shown(name)} cannot be the name of a {kind}: {why}")
        return name

    return validate


def checked_rois(names: Iterable[str]) -> None:
    """Raise DataError for the first that cannot be an ROI's: it becomes a file's, as it is."""
    for name in names:
        why = _problem(name, LONGEST_FILE)
        if why:
            raise DataError(f"{shown(name)} cannot be the name of an ROI: {why}. Rename the file.")


def shown(name: str) -> str:
    """Quoted, shortened, with control characters visible."""
    text = printable(name)
    return f"'{text[:60]}...'" if len(text) > 60 else f"'{text}'"


def visible(text: str) -> str:
    """Control characters as Python writes them (``\\x1b``), so that a terminal obeys none."""
    return _CONTROL.sub(_escape, text)


def printable(text: str) -> str:
    """``visible``, with tabs and line ends shown too: no message of a plugin breaks a line."""
    return visible(text).replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


@lru_cache
def estimand(name: str) -> str:
    """'per ROI' for ``per_roi``, as boards write it."""
    return name.replace("_", " ").replace("roi", "ROI")


def csv_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe; numbers stay."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text) is not None


def markdown_cell(text: str) -> str:
    """Text in Markdown as it is written, on one line: no column, link, tag, emphasis or formula of
    its own."""
    text = re.sub(r"[\\|`*~$]", r"\\\g<0>", visible(text))
    text = _ENDS.sub(r"\_", _ENTITY.sub("&amp;", text))
    text = text.replace("<", "&lt;").replace("](", "]\\(")
    return re.sub(r"[\r\n]+", " ", text)


def markdown_line(text: str) -> str:
    """``markdown_cell`` at the beginning of a line or an item: no heading, list, quote or box."""
    return _STARTS.sub(r"\1\\\2", markdown_cell(text.strip()))


_ENTITY = re.compile(r"&(?=#?\w+;)")
_ENDS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside words they are just letters
_STARTS = re.compile(r"^(\d*)([#>+\-.)=\[])")


class VisibleStream:
    """A text stream that shows control characters instead of sending them, but for the colours that
    this program itself writes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def beneath(self) -> TextIO:
        """The stream itself, for what moves the cursor and shows text by ``shown``."""
        return self._stream

    def write(self, text: str) -> int:
        self._stream.write(self.shown(text))
        return len(text)

    @staticmethod
    def shown(text: str) -> str:
        """``text`` as it may be sent to a terminal."""
        if not _CONTROL.search(text):
            return text
        parts, start = [], 0
        for ours in _OURS.finditer(text):
            parts += [visible(text[start : ours.start()]), ours[0]]
            start = ours.end()
        return "".join([*parts, visible(text[start:])])

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
