"""Helpers shared by tests."""

from __future__ import annotations

import os
import zlib

import numpy as np
import warm
from PIL import Image

#: unetpp for tests that are not about the network: a fiftieth of resnet18's parameters, so that
#: a run trains quickly and leaves 5 MB rather than 500
TINY_UNETPP = ("model.encoder=tu-test_efficientnet", "model.decoder_channels=[16, 12, 8, 8, 8]")
SET_TINY_UNETPP = [word for value in TINY_UNETPP for word in ("--set", value)]


def cli(*arguments, check=None, site=None, **environment):
    """``benchbcss`` in a process of its own; ``site`` goes before the installed packages."""
    if site:
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    done = warm.run("benchbcss", [*map(str, arguments)], {**os.environ, **environment})
    assert check is None or done.returncode == check, done.stdout + done.stderr
    return done


def tiny_clip(folder):
    """A CLIP of 16 dimensions with random weights: (model configuration, weights) as paths."""
    import json

    import open_clip
    import torch

    config = folder / "tiny-clip.json"
    config.write_text(
        json.dumps(
            {
                "embed_dim": 16,
                "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
                "text_cfg": {
                    "context_length": 77,
                    "vocab_size": 49408,
                    "width": 16,
                    "heads": 2,
                    "layers": 1,
                },
            }
        )
    )
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-clip")
    torch.save(model.state_dict(), folder / "tiny-clip.pt")
    return config, folder / "tiny-clip.pt"


def write_folder(root, masks, images=None, split=None):
    """A BCSS-shaped folder from {name: codes uint8 [H, W]}."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray(np.asarray(mask, np.uint8)).save(root / "masks" / name)
        image = (images or {}).get(name)
        if image is None:
            image = np.random.default_rng(zlib.crc32(name.encode())).integers(
                0, 256, (*np.shape(mask), 3), dtype=np.uint8
            )
        Image.fromarray(image).save(root / "images" / name)
    if split:
        lines = [f"{name},{part}" for name, part in split.items()]
        (root / "splits.csv").write_text("filename,split\n" + "\n".join(lines) + "\n")
    return root


def program(folder, name, script):
    """An executable of that name, of a shell's lines."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
