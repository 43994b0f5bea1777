"""Helpers shared by tests."""

from __future__ import annotations

import numpy as np
from PIL import Image


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
