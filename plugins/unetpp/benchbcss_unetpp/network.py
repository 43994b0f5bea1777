"""UNet++ that takes RGB in [0, 1] of any size and returns logits of the same size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from benchbcss.inference.networks import TakesRgb, grouped
from benchbcss.inference.views import pad

STRIDE = 32  # five halvings: smp refuses other multiples


class Normalised(TakesRgb):
    """``net`` behind channel normalisation, padding to a multiple of 32 and cropping.

    float [B, 3, H, W] in [0, 1] -> logits float [B, K, H, W], for any H, W >= 1. ``groups`` says
    which of its outputs stand for each class, where these are not the same.
    """

    groups: Sequence[Sequence[int]] | None = None

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean, std)
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        logits: Tensor = self.net(pad(self.normalised(image), STRIDE))
        logits = logits[..., :height, :width]
        return logits if self.groups is None else grouped(logits, self.groups)
