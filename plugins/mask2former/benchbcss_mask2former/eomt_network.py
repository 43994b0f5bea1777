"""EoMT that takes RGB in [0, 1] of any size and returns per-class scores of that size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from transformers import EomtDinov3ForUniversalSegmentation, EomtForUniversalSegmentation

from benchbcss_mask2former.criterion import Queries
from benchbcss_mask2former.network import QueryNetwork

MASKED = "attn_mask_probs"
_POSITIONS = "embeddings.position_embeddings.weight"


class _Traced:
    """Keeps what each block predicts: upstream gives that to its own loss alone."""

    answers: list[tuple[Tensor, Tensor]] = []  # noqa: RUF012 - replaced before each forward pass

    def predict(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        answer: tuple[Tensor, Tensor] = super().predict(logits)  # type: ignore[misc]
        self.answers.append(answer)
        return answer


class EomtOnDinov2(_Traced, EomtForUniversalSegmentation):
    """Learnt position embeddings."""


class EomtOnDinov3(_Traced, EomtDinov3ForUniversalSegmentation):
    """Rotary position embeddings."""


class SemanticEomt(QueryNetwork):
    """``net`` behind channel normalisation and padding, at any number of patches."""

    def __init__(
        self, net: EomtOnDinov2 | EomtOnDinov3, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(mean, std)
        self.net = net
        # upstream's loss ignores nothing: it must not be within reach
        self.net.criterion = nn.Identity()
        self.blocks: int = net.config.num_blocks
        self.stride = int(net.config.patch_size)
        # scored networks attend everywhere; training says otherwise step by step
        self.net.register_buffer(MASKED, torch.zeros(self.blocks), persistent=False)

    def queries(self, image: Tensor, masked: Tensor | None = None) -> list[Queries]:
        """See ``QueryNetwork.queries``. ``masked`` float [blocks]: the probability that a query
        attends to its own mask alone, in each of the last blocks; None: it attends everywhere. In
        training, and where it is above 0, these blocks predict as well."""
        rows, columns = (side // self.stride for side in image.shape[-2:])
        self.net.grid_size = (rows, columns)
        swapped = {}
        if masked is not None:
            swapped[MASKED] = masked.to(image.device)
        if isinstance(self.net, EomtOnDinov2):
            embeddings = self.net.embeddings.position_embeddings.weight
            swapped[_POSITIONS] = resampled_positions(embeddings, rows, columns)
            count = torch.arange(rows * columns, device=image.device)
            swapped["embeddings.position_ids"] = count[None]
        self.net.answers = []
        functional_call(self.net, swapped, kwargs={"pixel_values": self.normalised(image)})
        answers, self.net.answers = self.net.answers, []
        return [(classes, masks) for masks, classes in answers]


def resampled_positions(embeddings: Tensor, rows: int, columns: int) -> Tensor:
    """Position embeddings [s * s, D] of a square -> [rows * columns, D], bicubic as in timm."""
    side = math.isqrt(len(embeddings))
    if (rows, columns) == (side, side):
        return embeddings
    grid = embeddings.T.reshape(1, -1, side, side).float()
    grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
    return grid[0].flatten(1).T.to(embeddings.dtype)
