"""Reading for training: crops of a large ROI, and augmented tiles by a plain dataset on Pillow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchbcss.data.dataset import Roi
from benchbcss.data.labels import build_label_map
from benchbcss.data.store import TileStore
from benchbcss.recipes import NamedTransform
from benchbcss.training.augment import pipeline
from benchbcss.training.samples import TrainingData
from benchmarks.speed.maps import pair
from benchmarks.speed.timing import OURS, Case

TILE = 512
CROPS = 16  # a turn reads so many
NAMES = ("a", "b", "c", "d", "e", "rest")


LABEL_MAP = build_label_map(
    "speed",
    {"classes": {name: [code] for code, name in enumerate(NAMES)}, "mean": list(NAMES[:-1])},
    dict(zip(NAMES, range(len(NAMES)), strict=True)),
)


def draw_roi(folder: Path, megapixels: float) -> tuple[Roi, Path, Path]:
    """An ROI in a store, and the files it was decoded from."""
    target, _ = pair(megapixels)
    rng = np.random.default_rng(1)
    colours = rng.integers(60, 220, (len(NAMES), 3), dtype=np.uint8)
    noise = rng.integers(0, 30, (*target.shape, 1), dtype=np.uint8)
    image, mask = folder / "image.png", folder / "mask.png"
    Image.fromarray(colours[target] + noise).save(image, compress_level=1)
    Image.fromarray(target).save(mask)
    store = TileStore(folder / "store")
    return Roi("roi", store.entry(image, "image"), store.entry(mask, "mask")), image, mask


def crops(folder: Path, megapixels: float) -> Case:
    roi, image, _ = draw_roi(folder, megapixels)
    side = roi.shape[0]
    corners = np.random.default_rng(2).integers(0, side - TILE, (CROPS, 2)).tolist()

    def ours() -> list[np.ndarray]:
        return [np.array(roi.image()[y : y + TILE, x : x + TILE]) for y, x in corners]

    def pillow() -> list[np.ndarray]:
        parts = []
        for y, x in corners[:1]:  # it decodes the whole file: one crop stands for all
            with Image.open(image) as opened:
                parts.append(np.asarray(opened.crop((x, y, x + TILE, y + TILE))))
        return parts

    def check(answers: Mapping[str, Any]) -> None:
        assert (answers["Pillow, one crop of them"][0] == answers[OURS][0]).all()

    name = f"{CROPS} crops of {TILE} px from {megapixels:g} Mpx"
    return Case(name, {OURS: ours, "Pillow, one crop of them": pillow}, check)


def tiles(folder: Path, megapixels: float) -> Case:
    """Flips, quarter turns and colour jitter; the peer opens the files anew for each tile."""
    import torch
    from torchvision.transforms import v2

    roi, image, mask = draw_roi(folder, megapixels)
    steps = [{"name": "flips"}, {"name": "rot90"}, {"name": "color_jitter", "strength": 0.2}]
    augment = pipeline([NamedTransform.model_validate(step) for step in steps])
    data = TrainingData([roi], LABEL_MAP, TILE, None, 0, augment)
    flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
    jitter = v2.ColorJitter(0.2, 0.2, 0.2, 0.05)

    def plain() -> Any:
        y, x = torch.randint(0, roi.shape[0] - TILE, (2,)).tolist()
        box = (x, y, x + TILE, y + TILE)
        with Image.open(image) as opened, Image.open(mask) as codes:
            parts = [np.array(part.crop(box)) for part in (opened, codes)]
        pixels = torch.from_numpy(parts[0]).permute(2, 0, 1).float() / 255
        both = flips(torch.cat([pixels, torch.from_numpy(parts[1])[None]]))
        return jitter(both[:3]), both[3].long()

    def check(answers: Mapping[str, Any]) -> None:
        for name, (pixels, codes) in answers.items():  # both are random
            assert pixels.shape == (3, TILE, TILE), name
            assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1, name
            assert codes.shape == (TILE, TILE), name
            assert codes.dtype == torch.int64, name

    epochs = iter(range(1_000_000))
    contestants = {OURS: lambda: data.sample(next(epochs), 0), "a plain dataset": plain}
    return Case(f"an augmented tile of {TILE} px from {megapixels:g} Mpx", contestants, check)


def cases(megapixels: float = 13) -> Iterator[Case]:
    for make in (crops, tiles):
        with tempfile.TemporaryDirectory() as folder:
            yield make(Path(folder), megapixels)
