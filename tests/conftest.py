"""Fixtures: small phantoms, folders laid out as BCSS, and the real samples where they exist."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests_support import write_folder

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never reach for a network
# Tests run side by side on all cores; more threads than cores slow all of them down many times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"the real BCSS samples are not at {SHARED}"))


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    import torch

    from benchbcss.runs.allocator import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()


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


@pytest.fixture
def folder(tmp_path):
    """Six ROIs of 40 x 56 px with all classes of bcss5, and a split of them."""
    rng = np.random.default_rng(0)
    codes = np.array([0, 1, 2, 3, 4, 18, 9])
    masks = {f"roi{i}.png": rng.choice(codes, (40, 56)).astype(np.uint8) for i in range(6)}
    parts = ["train", "train", "train", "val", "test", "test"]
    return write_folder(tmp_path / "bcss", masks, split=dict(zip(masks, parts, strict=True)))


@pytest.fixture
def only_programs(tmp_path, monkeypatch):
    """The only folder in which programs are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder
