"""Which colours masks have, where colours are what they say. Importing it imports no numpy: plans
ask whether palettes disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchbcss.data.formats import Colour
from benchbcss.errors import DataError

MOST_COLOURS = 64  # a mask with more was not coloured by hand


def colours(masks: Sequence[Path], indexed: bool = False) -> dict[Colour, int]:
    """A code for each colour of masks of which any is RGB, darkest first; else empty. With
    ``indexed``, masks with a palette are enough."""
    import numpy as np

    from benchbcss.data.images import opened

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


def palette_of(path: Path, used: Callable[[], Iterable[int]]) -> dict[int, str]:
    """{index: rrggbb} of the indices in the picture at ``path``, for which ``used`` is asked, if
    that has a palette; no pixel is decoded. What is no picture has none."""
    from benchbcss.data.images import opened

    with suppress(DataError), opened(path) as image:
        if image.mode == "P":
            palette = bytes(image.getpalette("RGB") or ())
            return {index: palette[3 * index : 3 * index + 3].hex() for index in used()}
    return {}


class Palettes:
    """Palettes of pictures, one after the other, and whether they disagree: programs that colour
    pictures number the colours of each anew, and then an index is no code."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[str, str]] = {}
        #: what disagrees, half a sentence; empty where nothing does
        self.disagreement = ""

    def add(self, palette: Mapping[int, str], name: str) -> None:
        """One of ``palette_of``; ``name`` is the picture's in messages."""
        for index, colour in palette.items():
            before, other = self._first.setdefault(index, (colour, name))
            if colour != before and not self.disagreement:
                self.disagreement = (
                    f"{index} is #{before} in {other} and #{colour} in {name}, so that colours may "
                    f"be what counts, not numbers"
                )


def disagreement(masks: Mapping[Path, Mapping[int, str]]) -> str:
    """``Palettes.disagreement`` of masks; empty where they do not disagree."""
    seen = Palettes()
    for path, palette in masks.items():
        seen.add(palette, str(path))
    return f"the palettes of the masks disagree: {seen.disagreement}" if seen.disagreement else ""
