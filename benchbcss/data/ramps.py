"""Were codes interpolated? A mask that was resampled so has codes at its borders that nobody drew.
Where those are codes too, as between 1 and 3, no value is unknown, but there are too many of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a plan asks what was counted before
    import numpy as np

_ROWS = 512  # per pass
#: share of border pixels above which codes look interpolated: 0.0006 in twelve small masks of BCSS
#: and 0.0001 in a large one, up to 0.01 after nearest neighbour, and 0.10 to 0.18 after bilinear or
#: bicubic resampling of the twelve by 0.23 to 3.3 (tests/data/test_ramps.py)
MOST = 0.03
FEWEST = 500  # border pixels; of fewer nothing is said


def ramps(codes: np.ndarray) -> tuple[int, int]:
    """(pixels whose code lies between those of both neighbours in their row, or in their column;
    pixels with another code beside them, counted likewise) of ``codes`` [H, W]."""
    import numpy as np

    between = borders = 0
    for top in range(0, codes.shape[0], _ROWS):
        across, down = codes[top : top + _ROWS], codes[top : top + _ROWS + 2]
        for first, middle, last in (
            (across[:, :-2], across[:, 1:-1], across[:, 2:]),
            (down[:-2], down[1:-1], down[2:]),
        ):
            rising, falling = (first < middle) & (middle < last), (first > middle) & (middle > last)
            between += int(np.count_nonzero(rising | falling))
            borders += int(np.count_nonzero((first != middle) | (middle != last)))
    return between, borders


def look_interpolated(counts: Iterable[tuple[int, int]]) -> str:
    """That codes look interpolated, by ``ramps`` of all masks; empty where they do not."""
    pairs = list(counts)
    between, borders = (sum(pair[place] for pair in pairs) for place in (0, 1))
    if borders < FEWEST or between <= MOST * borders:
        return ""
    return (
        f"{between / borders:.0%} of the pixels at borders have a code between those of their "
        f"neighbours, as after resampling with interpolation"
    )
