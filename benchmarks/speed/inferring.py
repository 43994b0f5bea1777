"""Tiled inference against MONAI's sliding window, and the prompts of a large ROI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchbcss.contract import ALL_STRATEGIES, SCOPES, Prompting
from benchbcss.inference.prompts import all_prompts, make_prompts
from benchmarks.speed.maps import CLASSES, pair
from benchmarks.speed.timing import OURS, Case

TILE, OVERLAP, LABELS = 256, 64, 6


def tiled(side: int, width: int) -> Case:
    """One network ``width`` channels wide; labels must be the same but for rounding of ties."""
    import torch
    from monai.inferers import sliding_window_inference

    from benchbcss.inference.tiling import predict_tiled

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, width, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(width, LABELS, 5, padding=2),
    ).eval()
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)

    @torch.inference_mode()
    def ours() -> np.ndarray:
        return predict_tiled(net, image, LABELS, tile=TILE, overlap=OVERLAP, batch=2)

    @torch.inference_mode()
    def monai() -> np.ndarray:
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        logits = sliding_window_inference(
            tensor, TILE, 2, net, overlap=OVERLAP / TILE, mode="gaussian", sigma_scale=0.125
        )
        return logits.argmax(1)[0].byte().numpy()

    def check(answers: Mapping[str, Any]) -> None:
        assert (answers[OURS] != answers["MONAI"]).mean() < 1e-4

    return Case(
        f"tiled inference, {side} px, {width} channels", {OURS: ours, "MONAI": monai}, check
    )


def prompts(megapixels: float) -> Case:
    """All strategies and scopes: at once, and one after the other."""
    target, _ = pair(megapixels)
    every = [Prompting(strategy, scope) for strategy in ALL_STRATEGIES for scope in SCOPES]

    def apart() -> dict[Any, Any]:
        return {
            (one.strategy, one.scope): make_prompts(target, range(CLASSES), 1024, one)
            for one in every
        }

    def check(answers: Mapping[str, Any]) -> None:
        assert answers[OURS] == answers["one after the other"]

    return Case(
        f"{len(every)} promptings of {megapixels:g} Mpx",
        {
            OURS: lambda: all_prompts(target, range(CLASSES), 1024, every),
            "one after the other": apart,
        },
        check,
    )


def cases() -> Iterator[Case]:
    yield tiled(1024, 8)
    yield tiled(1024, 32)
    yield prompts(13)
