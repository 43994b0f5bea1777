"""Training samples: one per training ROI and epoch, a random tile or the squashed ROI.

Every sample is a function of (seed, epoch, ROI), so order of workers and resumption change
nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbcss.contract import IGNORE
from benchbcss.data.dataset import Roi
from benchbcss.data.labels import LabelMap
from benchbcss.inference.guard import lifted
from benchbcss.inference.views import squash, squash_labels
from benchbcss.recipes import Scale
from benchbcss.training.augment import Pipeline

#: image uint8 [S, S, 3], target uint8 [S, S], the seed of its augmentation
Raw = tuple[Tensor, Tensor, int]
#: bytes of finished samples that a training process keeps where ``views`` come again: our choice
KEPT_BYTES = 10**9
_POSITIONS = 4096  # remembered pixels per class and ROI, for tiles centred on a class


def seed_of(*parts: object) -> int:
    """A 63-bit seed from anything printable; stable across processes and machines."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_all(seed: int) -> None:
    """Seed all that a backend may draw from: torch, numpy's global generator and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for those who draw from it; we do not
    random.seed(seed)


@dataclass
class TrainingData:
    """The training ROIs in a backend's view. ``squash`` is the square's side, None for tiles;
    ``views`` how many samples there are of each ROI, None for a new one in every epoch;
    ``validation`` the ROIs that a backend which trains by itself may validate on."""

    training: Sequence[Roi]
    labels: LabelMap
    tile: int
    squash: int | None
    seed: int
    augment: Pipeline = field(default_factory=Pipeline)
    rare_class_probability: float = 0.0
    scales: Sequence[Scale] = ()
    views: int | None = None
    validation: Sequence[Roi] = ()

    def __post_init__(self) -> None:
        self._squashed: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        self._places: dict[int, dict[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.training)

    def rois(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(name, image uint8 [H, W, 3], target uint8 [H, W]) of each training ROI, in the view:
        copies, so nothing leads from them to a file, and what is done to them changes no sample."""
        for index, roi in enumerate(self.training):
            image, target = self._whole(index)
            yield roi.name, image, target

    def validation_rois(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The same of each validation ROI."""
        apart = replace(self, training=self.validation, validation=())
        yield from apart.rois()

    def sample(self, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        """image float32 [3, S, S] in [0, 1] and target int64 [S, S], augmented; S is the view's
        side, or what ``scales`` say for the epoch."""
        return self.finished(self.raw(epoch, index))

    def raw(self, epoch: int, index: int) -> Raw:
        """The same before augmentation, in a quarter of the bytes and less."""
        view, _, size = self.view(epoch, index)
        rng = np.random.default_rng(seed_of(self.seed, "sample", view, index))
        if self.squash:
            with lifted():
                image, target = self._squash(index, size or self.squash)
        else:
            with lifted():
                image, target = self._tile(index, rng)
            if size is not None and size != self.tile:
                image, target = squash(image, size), squash_labels(target, (size, size))
        seed = int(rng.integers(2**62))
        return torch.from_numpy(np.array(image)), torch.from_numpy(np.array(target)), seed

    def view(self, epoch: int, index: int) -> tuple[int, int, int | None]:
        """Samples of which this is equal are equal: the view's number, the ROI's, and the side that
        ``scales`` give it."""
        number = epoch if self.views is None else epoch % self.views
        return number, index, self._size(epoch)

    def finished(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """What ``sample`` returns, made of ``raw`` on the device that its tensors are on."""
        image, target, seed = raw
        pixels = image.permute(2, 0, 1).float() / 255
        return self.augment(pixels, target.long(), torch.Generator().manual_seed(seed))

    def sample_bytes(self, raw: bool) -> int:
        """Of the largest sample: as read (``raw``), or augmented."""
        sides = [self.squash or self.tile, *(scale.size for scale in self.scales)]
        return max(sides) ** 2 * (3 + 1 if raw else 3 * 4 + 8)

    def order(self, epoch: int) -> list[int]:
        """The epoch's order of ROIs."""
        rng = np.random.default_rng(seed_of(self.seed, "order", epoch))
        return [int(index) for index in rng.permutation(len(self))]

    def _whole(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        roi = self.training[index]
        with lifted():
            if not self.squash:
                return np.array(roi.image()), roi.target(self.labels)
            image, target = self._squash(index, self.squash)
            return image.copy(), target.copy()

    def _squash(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        roi = self.training[index]
        if (index, size) not in self._squashed:
            target = squash_labels(roi.codes(), (size, size))
            self._squashed[index, size] = (squash(roi.image(), size), self.labels.lookup[target])
        return self._squashed[index, size]

    def _size(self, epoch: int) -> int | None:
        begun = [scale for scale in self.scales if scale.epoch <= epoch]
        return max(begun, key=lambda scale: scale.epoch).size if begun else None

    def _tile(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        roi = self.training[index]
        height, width = roi.shape
        top = int(rng.integers(max(1, height - self.tile + 1)))
        left = int(rng.integers(max(1, width - self.tile + 1)))
        if rng.random() < self.rare_class_probability:
            row, column = self._place(index, rng)
            # Anywhere such that the pixel is inside, so that it is not always in the middle.
            top = _around(row, height, self.tile, rng)
            left = _around(column, width, self.tile, rng)
        window = np.s_[top : top + self.tile, left : left + self.tile]
        image, target = roi.image()[window], self.labels.lookup[roi.codes()[window]]
        bottom, right = self.tile - target.shape[0], self.tile - target.shape[1]
        if bottom or right:  # an ROI smaller than a tile
            image = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
            target = np.pad(target, ((0, bottom), (0, right)), constant_values=IGNORE)
        return image, target

    def _place(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """A random pixel of a random class in the mean, among those the ROI has."""
        roi = self.training[index]
        if index not in self._places:
            target = roi.target(self.labels)
            places = {}
            for label in self.labels.mean_classes:
                pixels = np.flatnonzero(target == label)
                if len(pixels):
                    chosen = np.random.default_rng(seed_of(self.seed, index, label))
                    places[label] = chosen.choice(pixels, min(_POSITIONS, len(pixels)), False)
            self._places[index] = places
        places = self._places[index]
        if not places:
            return int(rng.integers(roi.shape[0])), int(rng.integers(roi.shape[1]))
        label = list(places)[int(rng.integers(len(places)))]
        flat = int(places[label][int(rng.integers(len(places[label])))])
        return divmod(flat, roi.shape[1])


def _around(position: int, length: int, tile: int, rng: np.random.Generator) -> int:
    low, high = max(0, position - tile + 1), min(position, length - tile)
    return max(0, low) if high <= low else int(rng.integers(low, high + 1))


class StepDataset(torch.utils.data.Dataset):
    """Item ``step`` is the batch of that optimiser micro-step: of process ``rank`` of ``world``,
    every ``world``-th sample of it. An epoch has ``per_epoch`` micro-steps, by default as many as
    there are whole batches; fewer where a step takes several and does not take the last ones.

    A batch is (images float32 [B, 3, S, S], targets int64 [B, S, S], names), or with ``raw``
    (images uint8 [B, S, S, 3], targets uint8 [B, S, S], names, seeds), which ``finished_batch``
    turns into the former wherever it lies: that is what travels between processes and to a GPU.

    Finished views that come again are kept in memory, up to ``KEPT_BYTES``, unless processes of
    their own make the samples while training goes on.
    """

    def __init__(
        self,
        data: TrainingData,
        batch_size: int,
        first: int,
        last: int,
        rank: int = 0,
        world: int = 1,
        *,
        raw: bool = False,
        per_epoch: int | None = None,
    ) -> None:
        self.data, self.batch_size, self.first, self.last = data, batch_size, first, last
        self.rank, self.world, self.raw = rank, world, raw
        self.per_epoch = per_epoch or len(data) // batch_size  # drop-last
        self._kept: dict[tuple[int, int, int | None], tuple[Tensor, Tensor]] = {}
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, item: int) -> tuple[Any, ...]:
        step = self.first + item
        epoch, position = divmod(step, self.per_epoch)
        order = self.data.order(epoch)
        chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
        chosen = chosen[self.rank :: self.world]
        names = [self.data.training[index].name for index in chosen]
        if self.raw:
            images, targets, seeds = zip(*(self.data.raw(epoch, i) for i in chosen), strict=True)
            return torch.stack(images), torch.stack(targets), names, list(seeds)
        pairs = [self._sample(epoch, index) for index in chosen]
        return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs]), names

    def _sample(self, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        """The data's sample, which the caller only reads."""
        name = self.data.view(epoch, index)
        if name in self._kept:
            return self._kept[name]
        made = self.data.sample(epoch, index)
        if self.data.views is not None and torch.utils.data.get_worker_info() is None:
            size = sum(tensor.nbytes for tensor in made)
            if size <= self._room:
                self._kept[name] = made
                self._room -= size
        return made


def finished_batch(
    data: TrainingData, images: Tensor, targets: Tensor, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Images float32 [B, 3, S, S] and targets int64 [B, S, S] of a raw batch, augmented on the
    device that it is on."""
    pairs = [data.finished(raw) for raw in zip(images, targets, seeds, strict=True)]
    return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
