"""How a folder of any layout becomes ROIs: the reader protocol, and which reader a folder needs.

A reader pairs the files of a folder and decodes one ROI at a time. It is constructed with the
folder and a ``Reading`` (what the suite says about the files), and lists its ROIs at once without
decoding anything.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from benchbcss import registry
from benchbcss.data.formats import PACKED, Colour, elsewhere
from benchbcss.errors import DataError, explain
from benchbcss.registered import OURS, Registered

if TYPE_CHECKING:  # a folder is listed before anything is decoded
    import numpy as np

#: the reader that takes any folder of images and masks: asked last
LAST = "folders"
_LOOKED_AT = 1000  # files of a folder that no reader knows


@dataclass(frozen=True)
class Reading:
    """What a suite says about its files; every setting is optional.

    ``reader`` names the reader instead of detection. Patterns are regular expressions searched for
    in an ROI's name or path: their group ``patient`` (``site``), else their first group, else the
    whole match is the patient (site). ``colours`` maps RGB colours of masks to codes. ``images``,
    ``masks`` and ``pairs`` are paths within the folder; ``mask_suffix`` is what a mask's stem has
    beyond its image's. ``instances``: masks number objects from 1, and every number is code 1.
    """

    reader: str | None = None
    patient_pattern: str | None = None
    site_pattern: str | None = None
    colours: Mapping[Colour, int] = field(default_factory=dict)
    images: str | None = None
    masks: str | None = None
    mask_suffix: str | None = None
    pairs: str | None = None
    instances: bool | None = None

    @property
    def files(self) -> dict[str, str | bool]:
        """What is said of plain folders, where anything is."""
        names = ("images", "masks", "mask_suffix", "pairs", "instances")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Source:
    """The files that an ROI is read from; their hashes identify it.

    A variant says what beside a file's bytes decides its array: a colour table, or the place of the
    ROI in a file that holds many.
    """

    image: Path
    mask: Path
    image_variant: str = ""
    mask_variant: str = ""


class Reader(Protocol):
    """One layout of files.

    ``ids`` are file names (``NAME.png``): predictions are stored under them and splits name them.
    ``wants`` says in half a sentence what the layout is, for the message to who has another.
    """

    wants: ClassVar[str]
    ids: tuple[str, ...]

    def __init__(self, folder: Path, reading: Reading) -> None:
        """List the ROIs of ``folder``. Raises DataError naming what does not pair."""

    @classmethod
    def detect(cls, folder: Path) -> bool:
        """Whether ``folder`` is laid out this way; quick, and never an error."""

    @property
    def colour_normalised(self) -> bool:
        """Whether the images are normalised already."""

    def source(self, roi: str) -> Source:
        """The files behind an ROI."""

    def image(self, roi: str) -> np.ndarray:
        """uint8 [H, W, 3] RGB. Raises DataError naming the file."""

    def codes(self, roi: str) -> np.ndarray:
        """uint8 or uint16 [H, W]: the mask's codes as stored. Raises DataError naming the file."""

    def patient(self, roi: str) -> str | None:
        """Whose tissue it is, or None where that is not known."""

    def site(self, roi: str) -> str | None:
        """The institute it comes from, or None where that is not known."""

    def code_table(self) -> dict[str, int] | None:
        """The dataset's own table {name: code}, if it has one."""


def known_readers() -> Mapping[str, str]:
    """{name: "package.module:Class"} of every reader, in the order in which they are asked."""
    return {name: entry.target for name, entry in _in_order().items()}


def _in_order() -> dict[str, Registered[Any, Any]]:
    return dict(sorted(registry.load().readers.items(), key=lambda item: item[0] == LAST))


def reader_class(name: str) -> type[Reader]:
    """The reader of that name. Raises UnknownNameError."""
    reader: type[Reader] = registry.load().readers.find(name).load()
    return reader


def detect(folder: Path) -> str:
    """The name of the first reader that knows ``folder``. Raises DataError."""
    _check_folder(folder)
    layouts = []
    for name, entry in _in_order().items():
        try:
            reader: type[Reader] = entry.load()
            if reader.detect(folder):
                return name
            layouts.append(f"{name}: {reader.wants}")
        except (Exception, SystemExit) as error:
            if entry.source.distribution == OURS:
                raise
            why = f"the reader '{name}' ({entry.source}) raised {explain(error, entry.package)}"
            print(f"warning: {why}; others are asked", file=sys.stderr)
    files = (path.name for path in islice(folder.rglob("*"), _LOOKED_AT) if path.is_file())
    raise DataError(
        f"{folder} is not laid out as any reader expects. {'; '.join(layouts)}.{elsewhere(files)}"
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        if not folder.exists():
            raise DataError(f"The data folder {folder} does not exist.")
        packed = " Unpack it, and pass the folder." if folder.suffix.lower() in PACKED else ""
        raise DataError(f"The data folder {folder} is a file, not a folder.{packed}")


def choose(folder: Path, reading: Reading) -> str:
    """The name of the reader that the suite names, or that knows the folder. Raises DataError."""
    _check_folder(folder)
    if reading.reader is None and reading.files:
        return LAST  # these settings are its own
    return reading.reader or detect(folder)


def open_reader(folder: Path, reading: Reading) -> Reader:
    """The reader ``choose`` names, opened. Raises DataError."""
    return reader_class(choose(folder, reading))(folder, reading)


def colour_variant(reading: Reading) -> str:
    """The ``mask_variant`` of masks that are read with the suite's colours."""
    return f"colours {sorted(reading.colours.items())}" if reading.colours else ""


def matched(pattern: str | None, text: str, group: str) -> str | None:
    """What ``pattern`` finds in ``text``: its named ``group``, its first group, or all of it. Both
    are compared in one Unicode form: whoever has two ways to write a name is one patient."""
    if not pattern:
        return None
    match = re.search(unicodedata.normalize("NFC", pattern), unicodedata.normalize("NFC", text))
    if match is None:
        return None
    if group in match.groupdict():
        return match[group]
    return match[1] if match.re.groups else match[0]
