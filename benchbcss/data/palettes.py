"""Which colours masks have, where colours are what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from benchbcss.data.formats import Colour
from benchbcss.data.images import opened
from benchbcss.errors import DataError

MOST_COLOURS = 64  # a mask with more was not coloured by hand


def colours(masks: Sequence[Path], indexed: bool = False) -> dict[Colour, int]:
    """A code for each colour of masks of which any is RGB, darkest first; else empty. With
    ``indexed``, masks with a palette are enough."""
    present: set[int] = set()
    coloured = indexed
    for path in masks:
        try:
            with opened(path) as image:
                coloured = coloured or image.mode in ("RGB", "RGBA")
                if image.mode not in ("RGB", "RGBA", "P"):
                    continue
                rgb = np.asarray(image.convert("RGB"), np.uint32)
        except DataError:
            continue  # reading it properly says what is wrong with it
        present |= set(np.unique(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).tolist())
        if coloured and len(present) > MOST_COLOURS:
            raise DataError(
                f"{path}: the masks have more than {MOST_COLOURS} colours, so they are lossy, or "
                f"resampled with interpolation. Export them anew as PNG with flat colours."
            )
    by_value = sorted((value >> 16, value >> 8 & 255, value & 255) for value in present)
    return {c: code for code, c in enumerate(sorted(by_value, key=sum))} if coloured else {}


class Palettes:
    """Palettes of pictures, one after the other, and whether they disagree: programs that colour
    pictures number the colours of each anew, and then an index is no code."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[bytes, str]] = {}
        #: what disagrees, half a sentence; empty where nothing does
        self.disagreement = ""

    def add(self, path: Path, used: Callable[[], Iterable[int]], name: str) -> None:
        """``used`` is asked for the indices in the picture at ``path`` if that has a palette;
        ``name`` is its in messages. No pixel is decoded; what is no picture has no palette."""
        palette = b""
        with suppress(DataError), opened(path) as image:
            palette = bytes(image.getpalette("RGB") or ()) if image.mode == "P" else b""
        for index in used() if palette else ():
            colour = palette[3 * index : 3 * index + 3]
            before, other = self._first.setdefault(index, (colour, name))
            if colour != before and not self.disagreement:
                self.disagreement = (
                    f"{index} is #{before.hex()} in {other} and #{colour.hex()} in {name}, so that "
                    f"colours may be what counts, not numbers"
                )


def disagreement(masks: Mapping[Path, Iterable[int]]) -> str:
    """``Palettes.disagreement`` of masks and the indices that they use."""
    seen = Palettes()
    for path, used in masks.items():
        seen.add(path, partial(iter, used), str(path))
    return f"the palettes of the masks disagree: {seen.disagreement}" if seen.disagreement else ""
