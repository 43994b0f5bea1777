"""Points for the mask losses, drawn where the target is known and nowhere else.

Upstream draws points uniformly over the image; outside the ROI they would train every query to
predict "nothing here". A point here is a known pixel, chosen uniformly, and a place inside that
pixel: its label is the pixel's own, never a blend with an ignored neighbour.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = 1e-3  # keeps a rounded coordinate inside its pixel


def known_pixels(target: Tensor, ignore_index: int) -> Tensor:
    """Flat indices int64 [N] of the pixels of ``target`` int64 [H, W] that are not ignored."""
    return (target.flatten() != ignore_index).nonzero()[:, 0]


def draw(target: Tensor, known: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Uniform points over the known pixels, with replacement, from torch's global generator.

    ``target`` int64 [H, W] and ``known`` int64 [N > 0] -> (xy float32 [*shape, 2] as fractions of
    width and height in (0, 1), labels int64 [*shape]).
    """
    height, width = target.shape
    pixel = known[torch.randint(len(known), shape, device=known.device)]
    inside = torch.rand((*shape, 2), device=known.device) * (1 - 2 * EDGE) + EDGE
    corner = torch.stack([pixel % width, pixel // width], -1)
    size = torch.tensor([width, height], device=known.device)
    return (corner + inside) / size, target.flatten()[pixel]


def read(masks: Tensor, xy: Tensor) -> Tensor:
    """Bilinear values of ``masks`` float [M, h, w] at ``xy`` [M, P, 2] or shared [P, 2]: [M, P]."""
    grid = 2 * xy - 1
    if xy.dim() == 2:
        return F.grid_sample(
            masks[None], grid[None, :, None], padding_mode="border", align_corners=False
        )[0, :, :, 0]
    return F.grid_sample(
        masks[:, None], grid[:, :, None], padding_mode="border", align_corners=False
    )[:, 0, :, 0]


@torch.no_grad()
def draw_uncertain(
    masks: Tensor,
    target: Tensor,
    known: Tensor,
    count: int,
    oversample: float,
    importance: float,
) -> tuple[Tensor, Tensor]:
    """PointRend's sampling on known pixels: of ``oversample * count`` points for each of ``masks``
    float [M, h, w], the ``importance * count`` with logits nearest 0, the rest uniform.

    Returns (xy float32 [M, count, 2], labels int64 [M, count]).
    """
    sharp = int(importance * count)
    many, labels = draw(target, known, (len(masks), max(count, int(oversample * count))))
    chosen = (-read(masks, many).abs()).topk(sharp, dim=1).indices
    many = many.gather(1, chosen[..., None].expand(-1, -1, 2))
    labels = labels.gather(1, chosen)
    rest, rest_labels = draw(target, known, (len(masks), count - sharp))
    return torch.cat([many, rest], 1), torch.cat([labels, rest_labels], 1)
