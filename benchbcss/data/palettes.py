"""Which colours masks have, where colours are what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
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


def disagreement(masks: Mapping[Path, Collection[int]]) -> str:
    """That two masks give one index of their palettes two colours, of the indices that they use:
    programs that colour masks number the colours of each file anew, and then an index is no code.
    Empty where none do. No pixel is decoded; what is no picture has no palette."""
    first: dict[int, tuple[bytes, Path]] = {}
    for path, used in masks.items():
        palette = b""
        with suppress(DataError), opened(path) as image:
            palette = bytes(image.getpalette("RGB") or ()) if image.mode == "P" else b""
        for index in used if palette else ():
            colour = palette[3 * index : 3 * index + 3]
            before, other = first.setdefault(index, (colour, path))
            if colour != before:
                return (
                    f"the palettes of the masks disagree: {index} is #{before.hex()} in {other} "
                    f"and #{colour.hex()} in {path}, so that colours may be what counts, not "
                    f"numbers"
                )
    return ""
