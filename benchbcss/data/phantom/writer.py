"""Write a phantom: what each ROI shows, its files, and the marker that says it is complete."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchbcss.data.phantom.canvas import Canvas
from benchbcss.data.phantom.figures import (
    EXCLUDED,
    LYMPHOCYTE,
    NECROSIS,
    OUTSIDE,
    SHARES,
    TEST_SITES,
    TRAIN_SITES,
    VERSION,
    VESSEL,
)
from benchbcss.data.phantom.painter import paint
from benchbcss.data.phantom.tissue import layout, rotated
from benchbcss.io import read_json, write_bytes
from benchbcss.progress import SILENT, Progress
from benchbcss.temporary import sweep

_AT_ONCE = 1 << 21  # pixels drawn at a time; beyond it ROIs wait for each other


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
    marker = directory / "phantom.json"
    said = _marked(marker)
    if said is not None:
        if said == wanted:
            return
        raise ValueError(f"{directory} holds a phantom of other parameters; name another folder")
    torn = directory / ".phantom"
    for name in ("", "images", "masks", "meta"):
        sweep(directory / name)
    if directory.is_dir() and any(directory.iterdir()) and not (torn.is_file() or marker.is_file()):
        raise ValueError(f"{directory} is not empty; name another folder")
    directory.mkdir(parents=True, exist_ok=True)
    write_bytes(torn, b"unfinished\n")  # first: a torn one is completed later
    for name in ("images", "masks", "meta"):
        (directory / name).mkdir(exist_ok=True)

    plans = _plan(rois, size, seed)
    if workers is None:
        workers = max(1, min(os.cpu_count() or 1, _AT_ONCE // size**2))
    counted = progress.counted(plans, doing="painting")
    for plan, (image, mask) in zip(counted, _drawn(plans, workers), strict=True):
        write_bytes(directory / "images" / plan.name, image)
        write_bytes(directory / "masks" / plan.name, mask)
    codes = resources.files("benchbcss.data") / "gtruth_codes.tsv"
    write_bytes(directory / "meta" / "gtruth_codes.tsv", codes.read_bytes())
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([("filename", "split"), *((plan.name, plan.part) for plan in plans)])
    write_bytes(directory / "splits.csv", table.getvalue().encode())
    write_bytes(marker, (json.dumps(wanted, indent=1) + "\n").encode())
    torn.unlink()


def _marked(marker: Path) -> Any:
    """What ``phantom.json`` says, None where it cannot be read: then all is written again."""
    try:
        return read_json(marker)
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class _Plan:
    """One ROI: its name and part, and the share of its pixels that each class takes."""

    name: str
    part: str
    site: str
    index: int
    size: int
    seed: int
    shares: dict[int | str, float]


def _plan(rois: int, size: int, seed: int) -> list[_Plan]:
    """Names, parts and class shares; shares vary from ROI to ROI and average to SHARES."""
    rng = np.random.default_rng([seed, 0])
    test, val = max(1, round(rois / 4)), max(1, round(rois / 6))
    parts = ["train"] * (rois - val - test) + ["val"] * val + ["test"] * test
    firsts = {parts.index(part) for part in ("train", "val", "test")}
    shares: dict[int | str, np.ndarray] = {}
    for code, mean in SHARES.items():
        values = rng.uniform(0.5, 1.5, rois)
        if code in (LYMPHOCYTE, NECROSIS, VESSEL):  # absent here and there, but from no part
            values *= (rng.random(rois) > 0.2) | np.isin(np.arange(rois), list(firsts))
        shares[code] = np.minimum(values * mean / values.mean(), 3 * mean)
    plans = []
    for index, part in enumerate(parts):
        sites = TEST_SITES if part == "test" else TRAIN_SITES
        site = sites[index % len(sites)]
        x, y = (int(value) for value in rng.integers(1000, 90000, 2))
        plans.append(
            _Plan(
                f"TCGA-{site}-P{index:03d}-DX1_xmin{x}_ymin{y}_MPP-0.2500.png",
                part,
                site,
                index,
                size,
                seed,
                {code: float(values[index]) for code, values in shares.items()},
            )
        )
    return plans


def _drawn(plans: Sequence[_Plan], workers: int) -> Iterator[tuple[bytes, bytes]]:
    """The ROIs in order, at most ``workers`` of them drawn and not yet taken."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[tuple[bytes, bytes]]] = deque()
        for plan in plans:
            if len(waiting) == workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(_draw, plan))
        while waiting:
            yield waiting.popleft().result()


def _draw(plan: _Plan) -> tuple[bytes, bytes]:
    """PNG bytes of one ROI's image (RGB) and mask (codes)."""
    rng = np.random.default_rng([plan.seed, 1, plan.index])
    canvas = Canvas(rng, plan.size)
    inside = rotated(rng, plan.size)
    codes, rings = layout(canvas, inside, plan.shares)
    image = _png(paint(canvas, codes, rings, plan.site))
    mask = np.where(inside, codes, OUTSIDE).astype(np.uint8)
    if plan.index % 4 == 3:  # an annotator gave up on a corner of it
        doubt = canvas.field(60) > 2.2
        mask[doubt & inside & (mask != VESSEL)] = EXCLUDED
    return image, _png(mask)


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
