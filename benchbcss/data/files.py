"""What lies in a folder, at any depth, through links to other folders too.

``Path.rglob`` passes over links to folders, which is how data lies on clusters, and over folders
that may not be read: both would leave ROIs out in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchbcss.data.formats import LOSSY
from benchbcss.defaults import WORKSPACE
from benchbcss.errors import DataError

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", *LOSSY)
#: what may lie at the root of a disk, and nobody may read
_OF_THE_DISK = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}


def everything(folder: Path) -> Iterator[Path]:
    """Every path below ``folder`` but hidden ones and workspaces, each folder once; links to
    nothing among them.

    Raises DataError naming a folder that cannot be read.
    """
    top = os.path.realpath(folder)
    seen: set[str] = set()
    waiting = [folder]
    links: list[Path] = []  # last: what lies in ``folder`` itself keeps its place
    while waiting or links:
        place = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(place)
        if real in seen or (real != top and Path(top).is_relative_to(real)):
            continue
        seen.add(real)
        for path in _entries(place):
            if path.is_dir():
                if _is_workspace(path):  # made there by commands that ran in the data's folder
                    continue
                (links if path.is_symlink() else waiting).append(path)
            yield path


def _is_workspace(folder: Path) -> bool:
    """Whether it holds this program's runs, and their predictions, which are no masks."""
    if folder.name == WORKSPACE:
        return True
    return (folder / "store").is_dir() and any((folder / n).is_dir() for n in ("runs", "data"))


def pictures(folder: Path) -> list[Path]:
    """What ends as an image file does, at any depth, sorted; links to nothing too, since leaving
    them out would be silent. Raises DataError."""
    return sorted(
        path for path in everything(folder) if path.suffix.lower() in SUFFIXES and not path.is_dir()
    )


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be read: {error.strerror}. Make it readable, or move it "
            f"out."
        ) from error
    return [folder / n for n in names if not n.startswith(".") and n not in _OF_THE_DISK]
