"""A transformers network that takes RGB in [0, 1] of any size and returns the suite's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbcss.errors import WeightsError
from benchbcss.inference.networks import grouped
from benchbcss.inference.views import pad
from benchbcss.io import read_json

STRIDE = 32


@dataclass(frozen=True)
class Preprocessing:
    """How the network wants its input: ``(image * scale - mean) / std`` of image in [0, 1], and
    whether its channels are BGR."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    bgr: bool = False

    @classmethod
    def read(cls, path: Path, fallback: dict[str, Any]) -> Preprocessing:
        """From a ``preprocessor_config.json``. Raises WeightsError where it is damaged."""
        try:
            raw = read_json(path)
            scale = 255 * float(raw.get("rescale_factor") or 1 / 255)
            scale = scale if raw.get("do_rescale", True) else 255.0
            bgr = bool(raw.get("do_flip_channel_order", False))
            if not raw.get("do_normalize", "image_mean" in raw):
                return cls((0.0,) * 3, (1.0,) * 3, scale, bgr)
            mean = raw.get("image_mean", fallback["mean"])
            std = raw.get("image_std", fallback["std"])
            return cls(tuple(map(float, mean)), tuple(map(float, std)), scale, bgr)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"{path} cannot be read: {error}.") from error


class Segmenter(nn.Module):
    """``net`` behind its preprocessing, its outputs grouped into the suite's classes.

    ``groups[k]`` are the outputs that stand for class k. A class's score is the logarithm of the
    sum of its outputs' probabilities; outputs in no group are left out.
    """

    def __init__(
        self, net: nn.Module, how: Preprocessing, groups: Sequence[Sequence[int]], outputs: int
    ) -> None:
        super().__init__()
        self.net = net
        self.groups = tuple(tuple(group) for group in groups)
        self.plain = self.groups == tuple((index,) for index in range(outputs))
        self.scale, self.bgr = how.scale, how.bgr
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(how.mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(how.std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """float [B, 3, H, W] in [0, 1] -> logits float32 [B, K, H, W], any H and W."""
        height, width = image.shape[-2:]
        x = pad((image * self.scale - self.mean) / self.std, STRIDE)
        logits = self.net(pixel_values=x.flip(1) if self.bgr else x).logits
        logits = F.interpolate(logits.float(), x.shape[-2:], mode="bilinear", align_corners=False)[
            ..., :height, :width
        ]
        return logits if self.plain else grouped(logits, self.groups)
