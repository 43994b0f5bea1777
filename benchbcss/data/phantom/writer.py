"""Write a phantom: what each ROI shows, its files, and the marker that says it is complete."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchbcss.cores import cores
from benchbcss.data.phantom.canvas import Canvas
from benchbcss.data.phantom.figures import (
    EXCLUDED,
    LYMPHOCYTE,
    NECROSIS,
    OUTSIDE,
    SHARES,
    TEST_SITES,
    TRAIN_SITES,
    VESSEL,
)
from benchbcss.data.phantom.folder import MARKER, TORN
from benchbcss.data.phantom.painter import paint
from benchbcss.data.phantom.tissue import layout, rotated
from benchbcss.io import write_bytes
from benchbcss.progress import SILENT, Progress

_AT_ONCE = 1 << 21  # pixels drawn at a time; beyond it ROIs wait for each other


def write(
    directory: Path,
    wanted: Mapping[str, Any],
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> None:
    """Draw the ROIs that ``wanted`` describes and write them; ``phantom.json``, which is
    ``wanted``, last."""
    rois, size, seed = wanted["rois"], wanted["size"], wanted["seed"]
    directory.mkdir(parents=True, exist_ok=True)
    torn = directory / TORN
    write_bytes(torn, b"unfinished\n")  # first: a torn one is completed later
    for name in ("images", "masks", "meta"):
        (directory / name).mkdir(exist_ok=True)

    plans = _plan(rois, size, seed)
    if workers is None:
        workers = max(1, min(cores(), _AT_ONCE // size**2))
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
    write_bytes(directory / MARKER, (json.dumps(wanted, indent=1) + "\n").encode())
    torn.unlink()


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
