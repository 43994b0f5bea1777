"""Points for the mask losses, drawn where the target is known and nowhere else.

Upstream draws points uniformly over the image; outside the ROI they would train every query to
predict "nothing here". A point here is a known pixel, chosen uniformly, and a place inside that
pixel: its label is the pixel's own, never a blend with an ignored neighbour.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = 1e-3  # keeps a rounded coordinate inside its pixel


class Drawn(NamedTuple):
    """Points of one image: the flat index of each one's ``pixel``, int32 [*shape], and its place
    ``inside`` that pixel, float32 [*shape, 2]. What a point's target is needs a look at them."""

    pixel: Tensor
    inside: Tensor


def known_pixels(target: Tensor, ignore_index: int, count: int) -> Tensor:
    """Flat indices int64 [count] of the pixels of ``target`` int64 [H, W] that are not ignored, in
    order. As ``nonzero``, which on a GPU waits to learn how many there are."""
    known = target.flatten() != ignore_index
    rank = torch.where(known, known.cumsum(0) - 1, count)
    places = torch.empty(count + 1, dtype=torch.int64, device=target.device)
    places.scatter_(0, rank, torch.arange(len(known), device=target.device))
    return places[:count]


def draw(known: Tensor, shape: tuple[int, ...]) -> Drawn:
    """Uniform points over the pixels ``known`` int64 [N > 0], with replacement, from torch's global
    generator."""
    pixel = known[torch.randint(len(known), shape, device=known.device)]
    inside = torch.rand((*shape, 2), device=known.device) * (1 - 2 * EDGE) + EDGE
    return Drawn(pixel.int(), inside)


def locate(target: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """Points drawn for ``target`` int64 [H, W] -> (xy float32 [*shape, 2] as fractions of width and
    height in (0, 1), labels int64 [*shape])."""
    height, width = target.shape
    pixel = drawn.pixel.long()
    corner = torch.stack([pixel % width, pixel // width], -1)
    size = torch.tensor([width, height], device=target.device)
    return (corner + drawn.inside) / size, target.flatten()[pixel]


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


class Candidates(NamedTuple):
    """What PointRend's sampling draws for each of M masks: ``many`` points, of which those with
    logits nearest 0 are taken, and the ``rest``, which are all taken."""

    many: Drawn
    rest: Drawn


def draw_candidates(
    known: Tensor, masks: int, count: int, oversample: float, importance: float
) -> Candidates:
    """For ``count`` points of each of ``masks`` masks: ``oversample * count`` to choose
    ``importance * count`` from, and the rest."""
    many = draw(known, (masks, max(count, int(oversample * count))))
    return Candidates(many, draw(known, (masks, count - int(importance * count))))


@torch.no_grad()
def uncertain(
    masks: Tensor, target: Tensor, drawn: Candidates, count: int
) -> tuple[Tensor, Tensor]:
    """``count`` points for each of ``masks`` float [M, h, w]: the most uncertain of ``drawn.many``,
    and ``drawn.rest``. Returns (xy float32 [M, count, 2], labels int64 [M, count])."""
    many, labels = locate(target, drawn.many)
    rest, rest_labels = locate(target, drawn.rest)
    sharp = count - rest.shape[1]
    chosen = (-read(masks, many).abs()).topk(sharp, dim=1).indices
    many = many.gather(1, chosen[..., None].expand(-1, -1, 2))
    labels = labels.gather(1, chosen)
    return torch.cat([many, rest], 1), torch.cat([labels, rest_labels], 1)
