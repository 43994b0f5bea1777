"""Networks of queries: RGB in [0, 1] of any size in, per-class scores of that size out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from benchbcss.inference.networks import TakesRgb
from benchbcss.inference.views import pad
from benchbcss_mask2former.criterion import Queries

STRIDE = 32
FLOOR = 1e-6  # a class no query claims is very unlikely, not impossible: log stays finite


class QueryNetwork(TakesRgb):
    """Each query is a class and a mask; their sum is a score per class and pixel.

    ``stride`` is what both sides of an image are padded to a multiple of. ``groups`` says which of
    the network's classes stand for each of the task's, where these are not the same.
    """

    stride = STRIDE
    groups: Sequence[Sequence[int]] | None = None

    def queries(self, image: Tensor) -> list[Queries]:
        """``image`` float [B, 3, H, W], H and W multiples of ``stride`` -> (class logits
        [B, Q, K + 1], mask logits [B, Q, h, w]) of every layer that predicts, the last one last."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """float [B, 3, H, W] in [0, 1] -> log-probabilities float32 [B, K, H, W], any H and W.

        A class's score is the paper's, sum over queries of softmax(class) x sigmoid(mask). The
        scores are divided by their sum over classes and logged: the argmax is the paper's, and
        averaging overlapping tiles multiplies probabilities as it does for softmax networks.
        """
        height, width = image.shape[-2:]
        padded = pad(image, self.stride)
        class_logits, mask_logits = self.queries(padded)[-1]
        classes = class_logits.float().softmax(-1)[..., :-1]
        if self.groups is not None:
            parts = [classes[..., list(group)].sum(-1) for group in self.groups]
            classes = torch.stack(parts, -1)
        tiles = []
        for one_class, one_mask in zip(classes, mask_logits, strict=True):  # 100 full-size masks
            masks = F.interpolate(
                one_mask[None].float(), padded.shape[-2:], mode="bilinear", align_corners=False
            )[0, :, :height, :width]
            with torch.autocast(masks.device.type, enabled=False):
                tiles.append(torch.einsum("qk,qhw->khw", one_class, masks.sigmoid()))
        scores = torch.stack(tiles) + FLOOR
        return (scores / scores.sum(1, keepdim=True)).log()


class SemanticMask2Former(QueryNetwork):
    """``net`` behind channel normalisation and padding; masks at a quarter of the size."""

    def __init__(
        self,
        net: Mask2FormerForUniversalSegmentation,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(mean, std)
        self.net = net
        # upstream's loss ignores nothing: it must not be within reach
        self.net.criterion = nn.Identity()

    def queries(self, image: Tensor) -> list[Queries]:
        """Of every decoder layer; see ``QueryNetwork.queries``."""
        output = self.net(pixel_values=self.normalised(image), output_auxiliary_logits=True)
        layers = [
            (layer["class_queries_logits"], layer["masks_queries_logits"])
            for layer in output.auxiliary_logits
        ]
        return [*layers, (output.class_queries_logits, output.masks_queries_logits)]


def pad_target(target: Tensor, ignore_index: int, stride: int = STRIDE) -> Tensor:
    """The same for int64 [B, H, W]; what was added is ignored."""
    height, width = target.shape[-2:]
    return F.pad(target, (0, -width % stride, 0, -height % stride), value=ignore_index)
