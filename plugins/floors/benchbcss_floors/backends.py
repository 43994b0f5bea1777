"""The three floors. What they learn lies in buffers, so that it is checkpointed like weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchbcss.contract import Backend, Prompt
from benchbcss.data.stains import stain_vectors
from benchbcss.training.samples import TrainingData, seed_of
from benchbcss.weights import Provenance

_STAINS = stain_vectors("haematoxylin", "eosin", "dab")


class _Constant(nn.Module):
    logits: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(num_classes))

    def forward(self, image: Tensor) -> Tensor:
        batch, _, height, width = image.shape
        return self.logits[None, :, None, None].expand(batch, -1, height, width)


class Majority(Backend):
    """The most frequent class of the training pixels, everywhere."""

    def build(self) -> nn.Module:
        self.context.provenance = Provenance(source="none: fitted to class frequencies")
        return _Constant(self.task.num_classes)

    def fit(self, model: nn.Module, samples: TrainingData) -> bool:
        assert isinstance(model, _Constant)
        counts = np.zeros(self.task.num_classes, np.int64)
        for _, _, target in samples.rois():
            counts += np.bincount(target.reshape(-1), minlength=256)[: self.task.num_classes]
        model.logits.copy_(torch.from_numpy(np.log(counts + 1.0)))
        return True


class _Gaussians(nn.Module):
    """log p(stains | class) + log p(class), per pixel."""

    mean: Tensor
    whiten: Tensor
    offset: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_classes, 3))
        self.register_buffer("whiten", torch.eye(3).repeat(num_classes, 1, 1))
        self.register_buffer("offset", torch.full((num_classes,), -1e4))

    def forward(self, image: Tensor) -> Tensor:
        amounts = stains(image)
        scores = []
        for mean, whiten, offset in zip(self.mean, self.whiten, self.offset, strict=True):
            centred = amounts - mean[:, None, None]
            distance = torch.einsum("sc,bchw->bshw", whiten, centred).square().sum(1)
            scores.append(offset - 0.5 * distance)
        return torch.stack(scores, 1)


def stains(image: Tensor) -> Tensor:
    """RGB float [B, 3, H, W] in [0, 1] -> amounts of haematoxylin, eosin and a third stain."""
    density = -torch.log(image.float().clamp(1 / 255, 1))
    unmix = torch.linalg.inv(nn.functional.normalize(torch.tensor(_STAINS), dim=1))
    return torch.einsum("bchw,cs->bshw", density, unmix.to(density.device))


class Colour(Backend):
    """A classifier of single pixels: it sees stain, never texture or shape."""

    def build(self) -> nn.Module:
        self.context.provenance = Provenance(source="none: fitted to pixel colours")
        return _Gaussians(self.task.num_classes)

    def fit(self, model: nn.Module, samples: TrainingData) -> bool:
        assert isinstance(model, _Gaussians)
        pixels, labels = [], []
        for name, image, target in samples.rois():
            known = np.flatnonzero(target.reshape(-1) != self.task.ignore_index)
            rng = np.random.default_rng(seed_of(self.context.seed, "colour", name))
            count = min(len(known), self.recipe["model"]["samples_per_roi"])
            chosen = rng.choice(known, count, replace=False)
            pixels.append(image.reshape(-1, 3)[chosen])
            labels.append(target.reshape(-1)[chosen])
        rgb = torch.from_numpy(np.concatenate(pixels)).float().div(255)
        amounts = stains(rgb.T[None, :, :, None])[0, :, :, 0].T.double()
        label = torch.from_numpy(np.concatenate(labels))
        for index in range(self.task.num_classes):
            mine = amounts[label == index]
            if len(mine) < 4:
                continue  # never predicted: its offset stays far below the others
            covariance = torch.cov(mine.T) + 1e-5 * torch.eye(3, dtype=torch.float64)
            factor = torch.linalg.inv(torch.linalg.cholesky(covariance))
            model.mean[index] = mine.mean(0).float()
            model.whiten[index] = factor.float()
            prior = np.log(len(mine) / len(label))
            model.offset[index] = float(factor.diagonal().log().sum() + prior)
        return True


class BoxFill(Backend):
    """Fills the oracle's box: how much of a prompted score the hint alone is worth."""

    validation = "prompted"
    strategies = ("box", "box_neg", "box_neg_outer")  # a point has no inside to fill

    def build(self) -> nn.Module:
        self.context.provenance = Provenance(source="none: nothing is learnt")
        return nn.Identity()

    def fit(self, model: nn.Module, samples: TrainingData) -> bool:
        return True

    def encode(self, model: nn.Module, image: Tensor) -> Any:
        return image.shape[-1]

    def predict_prompted(self, model: nn.Module, encoded: Any, prompts: list[Prompt]) -> Tensor:
        masks = torch.full((len(prompts), encoded, encoded), -1.0)
        for mask, prompt in zip(masks, prompts, strict=True):
            if prompt.box is None:
                raise ValueError("floor_box_fill needs box prompts")
            # The pixels whose centres lie in the box.
            left, top, right, bottom = (edge - 0.5 for edge in prompt.box)
            rows = slice(math.ceil(top), math.floor(bottom) + 1)
            mask[rows, math.ceil(left) : math.floor(right) + 1] = 1.0
        return masks
