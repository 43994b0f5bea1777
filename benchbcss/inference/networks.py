"""What networks of several plugins share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FLOOR = 1e-6  # a class that a network has not is very unlikely, not impossible: log stays finite


def grouped(logits: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Logits [B, N, H, W] of a network's own classes -> log-probabilities float32 [B, K, H, W].

    ``groups[k]`` are the outputs that stand for class k: its probability is their sum. Outputs in
    no group are left out.
    """
    scores = logits.float().log_softmax(1)
    nothing = scores.new_full(scores[:, 0].shape, FLOOR).log()
    return torch.stack(
        [scores[:, list(group)].logsumexp(1) if group else nothing for group in groups], 1
    )


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
