"""Fixtures: small phantoms, folders laid out as BCSS, and the real samples where they exist."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never reach for a network
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"the real BCSS samples are not at {SHARED}"))


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def shared():
    return SHARED


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """Eight ROIs of 128 px."""
    from benchbcss.data.phantom import generate

    folder = tmp_path_factory.mktemp("phantom") / "data"
    generate(folder, rois=8, size=128, seed=3)
    return folder


def write_folder(root, masks, images=None, split=None):
    """A BCSS-shaped folder from {name: codes uint8 [H, W]}."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray(np.asarray(mask, np.uint8)).save(root / "masks" / name)
        image = (images or {}).get(name)
        if image is None:
            image = np.random.default_rng(len(name)).integers(
                0, 256, (*np.shape(mask), 3), dtype=np.uint8
            )
        Image.fromarray(image).save(root / "images" / name)
    if split:
        lines = [f"{name},{part}" for name, part in split.items()]
        (root / "splits.csv").write_text("filename,split\n" + "\n".join(lines) + "\n")
    return root


@pytest.fixture
def folder(tmp_path):
    """Six ROIs of 40 x 56 px with all classes of bcss5, and a split of them."""
    rng = np.random.default_rng(0)
    codes = np.array([0, 1, 2, 3, 4, 18, 9])
    masks = {f"roi{i}.png": rng.choice(codes, (40, 56)).astype(np.uint8) for i in range(6)}
    parts = ["train", "train", "train", "val", "test", "test"]
    return write_folder(tmp_path / "bcss", masks, split=dict(zip(masks, parts, strict=True)))
