"""Um per pixel as TIFFs say it, for ``prepare``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from PIL import Image

from benchbcss.data.images import opened
from benchbcss.errors import DataError

#: tags of TIFF
_DESCRIPTION, _ACROSS, _DOWN, _UNIT = 270, 282, 283, 296
_UM = {2: 25_400.0, 3: 10_000.0}  # of an inch, and of a centimetre
_MICRON = re.compile(
    r"unit=(um|micron|\\u00B5m|\u00b5m|\u03bcm)", re.IGNORECASE
)  # as ImageJ has it
#: what a microscope gives; other numbers are those of printers and screens
_FINEST, _COARSEST = 0.02, 20.0
_SQUARE = 0.01  # the most by which sides of square pixels differ


def scale(images: Iterable[Path]) -> tuple[float | None, tuple[str, ...]]:
    """(um per pixel that every image says, notes): None where any does not, or they differ."""
    sides: dict[Path, tuple[float, float] | None] = {path: _sides(path) for path in images}
    known = [pair for pair in sides.values() if pair]
    notes = []
    for path, pair in sides.items():
        if pair and abs(pair[0] - pair[1]) > _SQUARE * max(pair):
            notes.append(
                f"pixels are not square, {pair[0]:g} by {pair[1]:g} um in {path.name}: a suite has "
                f"one scale, so resample images, and masks with nearest neighbour"
            )
            break
    if not known or notes:
        return None, tuple(notes)
    low, high = min(known)[0], max(known)[0]
    if high - low > _SQUARE * high:
        note = (
            f"tags of the images say from {low:g} to {high:g} um per pixel: a suite has one scale"
        )
        return None, (note,)
    return (round(low, 4) if None not in sides.values() else None), ()


def _sides(path: Path) -> tuple[float, float] | None:
    """Width and height of a pixel in um."""
    with suppress(DataError), opened(path) as image:
        tags = getattr(image, "tag_v2", None)
        if tags and (um := _unit(image)) and tags.get(_ACROSS) and tags.get(_DOWN):
            across, down = um / float(tags[_ACROSS]), um / float(tags[_DOWN])
            if min(across, down) >= _FINEST and max(across, down) <= _COARSEST:
                return across, down
    return None


def _unit(image: Image.Image) -> float:
    """Um of the unit in which a TIFF gives its resolution; 0 where it is none."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    about = str(tags.get(_DESCRIPTION, ""))
    if about.startswith("ImageJ="):
        return 1.0 if _MICRON.search(about) else 0.0
    return _UM.get(tags.get(_UNIT, 0), 0.0)
