"""A phantom's folder: complete, torn, somebody else's, or to be written. What draws is imported
only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchbcss.data.phantom.figures import VERSION
from benchbcss.io import read_json
from benchbcss.progress import SILENT, Progress
from benchbcss.temporary import sweep

#: its description, written last; and what lies there until then
MARKER, TORN = "phantom.json", ".phantom"


def generate(
    directory: Path,
    *,
    rois: int = 24,
    size: int = 512,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> None:
    """Write ``rois`` square ROIs of ``size`` px to ``directory``; returns at once if it holds them.

    ``workers`` ROIs are drawn at a time; by default as many as there are cores and as fit into
    two megapixels, so that memory is bounded by one large ROI. ``phantom.json`` is written last
    and marks a complete phantom. Raises ValueError for impossible parameters and for a folder that
    holds something else.
    """
    if not (6 <= rois <= 10_000 and 64 <= size <= 8192 and 0 <= seed < 2**63):
        raise ValueError(
            f"a phantom has 6 to 10000 ROIs of 64 to 8192 px and a seed of 0 to 2**63 - 1, got "
            f"{rois} ROIs of {size} px, seed {seed}"
        )
    directory = Path(directory)
    wanted = {
        "version": VERSION,
        "rois": rois,
        "size": size,
        "seed": seed,
        "note": "synthetic images; not BCSS",
    }
    marker = directory / MARKER
    said = _marked(marker)
    if said is not None:
        if said == wanted:
            return
        raise ValueError(f"{directory} holds a phantom of other parameters; name another folder")
    torn = directory / TORN
    for name in ("", "images", "masks", "meta"):
        sweep(directory / name)
    if directory.is_dir() and any(directory.iterdir()) and not (torn.is_file() or marker.is_file()):
        raise ValueError(f"{directory} is not empty; name another folder")
    from benchbcss.data.phantom.writer import write

    write(directory, wanted, workers=workers, progress=progress)


def _marked(marker: Path) -> Any:
    """What ``phantom.json`` says, None where it cannot be read: then all is written again."""
    try:
        return read_json(marker)
    except (OSError, ValueError):
        return None
