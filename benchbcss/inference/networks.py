"""What networks of several plugins share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TakesRgb(nn.Module):
    """Base of networks that take RGB float [B, 3, H, W] in [0, 1]: the buffers ``mean`` and ``std``
    [1, 3, 1, 1] hold the channel statistics that the weights were trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1))

    def normalised(self, image: Tensor) -> Tensor:
        """(image - mean) / std."""
        return (image - self.mean) / self.std
