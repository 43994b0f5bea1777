"""Oracle prompts made from ground truth, for the prompted track.

Version 1: strategy ``box`` with scope ``class``: the tight box around all pixels of a class,
as edges in pixels (x0, y0, x1, y1) of the image that the model encodes. Absent classes are not
prompted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchbcss.contract import Prompt


def box_prompts(target: np.ndarray, classes: Sequence[int], size: int) -> list[Prompt]:
    """Boxes for the classes present in ``target`` uint8 [H, W], scaled to a square of ``size``."""
    height, width = target.shape
    prompts = []
    for label in classes:
        mask = target == label
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            continue
        box = (
            columns[0] * size / width,
            rows[0] * size / height,
            (columns[-1] + 1) * size / width,
            (rows[-1] + 1) * size / height,
        )
        prompts.append(Prompt(int(label), box=tuple(float(edge) for edge in box)))  # type: ignore[arg-type]
    return prompts
