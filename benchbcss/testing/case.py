"""A backend on a tiny phantom, built anew whenever a check asks for it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchbcss.contract import IGNORE, Backend, Batch, Context, Task
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.labels import label_map
from benchbcss.data.phantom import generate
from benchbcss.data.store import TileStore
from benchbcss.inference.guard import Guard
from benchbcss.inference.predictor import Predictor
from benchbcss.recipes import Recipe, Train, resolve
from benchbcss.registry import Registered
from benchbcss.runs.planning import clip_spec
from benchbcss.runs.setup import network
from benchbcss.suites import Clip
from benchbcss.tracks import Track, shared
from benchbcss.training import loop
from benchbcss.training.samples import TrainingData
from benchbcss.weights import Weights

TILE = 64
ROI = 96


class Skipped(Exception):
    """The check does not apply to this backend; the message says why."""


class Case:
    """A backend on a tiny phantom, built anew whenever a check asks for it."""

    def __init__(self, entry: Registered, overrides: Sequence[str] = ()) -> None:
        self.entry = entry
        self._folder = tempfile.TemporaryDirectory(prefix="benchbcss-check-")
        self.root = Path(self._folder.name)
        self.labels = label_map("bcss5")
        self.task = Task(self.labels.class_names, self.labels.mean_classes, 0.3, TILE)
        recipe = resolve(entry.info.recipe, "smoke", tuple(overrides))
        if recipe.view.protocol == "squash" and not any("view.size" in o for o in overrides):
            recipe = resolve(entry.info.recipe, "smoke", (*overrides, f"view.size={2 * TILE}"))
        self.recipe: Recipe = recipe
        self._rois: dict[str, Roi] | None = None
        self._kept: tuple[Backend, nn.Module] | None = None
        self.guards = [Guard({}, outward=False)]  # of build, then of each fit

    @property
    def squash(self) -> int | None:
        return self.recipe.view.size if self.recipe.view.protocol == "squash" else None

    @property
    def tracks(self) -> list[Track]:
        return shared(self.entry.info.tracks)

    def needs(self, kind: type[Track]) -> None:
        """Raises Skipped for a backend without the track."""
        if kind.name not in self.entry.info.tracks:
            raise Skipped(f"it has no {kind.name} track")

    def available(self, made: Backend) -> list[Track]:
        """The tracks that can be measured here: a labeller's weights may be missing."""
        return [track for track in self.tracks if not made.unavailable(track.name)]

    def rois(self) -> list[Roi]:
        """Six ROIs: the first four train, the last two are for testing."""
        if self._rois is None:
            generate(self.root / "data", rois=6, size=ROI, seed=1)
            source = Dataset(self.root / "data", TileStore(self.root / "store"))
            self._rois = source.rois(source.names, self.labels)
        return list(self._rois.values())

    def backend(
        self, weights: str = "none", evaluating: bool = False, seed: int = 0
    ) -> tuple[Backend, nn.Module]:
        """A new instance and its network, from ``seed``."""
        from benchbcss.inference.clip import Source

        counts = sum((roi.class_pixels(self.labels) for roi in self.rois()[:4]), np.int64(0))
        device = torch.device("cpu")
        context = Context(
            seed,
            device,
            Weights.parse(weights),
            False,
            [int(count) for count in np.asarray(counts)],
            clip=Source(clip_spec(Clip()), device),
            evaluating=evaluating,
        )
        torch.manual_seed(seed)
        with self.guards[0].up("running build"):
            made = self.entry.load()(self.task, self.recipe.model_dump(), context)
            return made, network(made.build())

    def data(self, rois: Sequence[Roi] | None = None) -> TrainingData:
        chosen = self.rois()[:4] if rois is None else list(rois)
        held_out = self.rois()[4:5]
        return TrainingData(chosen, self.labels, TILE, self.squash, 0, validation=held_out)

    def truth(self) -> dict[Path, str]:
        """What no backend may read, as in a run."""
        return {self.root / "data": "the data folder", self.root / "store": "the tile store"}

    def fitted(self, *, guarded: bool = False) -> tuple[Backend, nn.Module]:
        """A new instance with whatever it fits by itself, but without the training loop; the same
        again of one that leaves training to another program, which takes long: that is done once,
        and guarded."""
        if self._kept is not None:
            return self._kept
        apart = self.entry.info.trains and self.recipe.train is None
        made, model = self.backend()
        guard = Guard(self.truth() if guarded or apart else {}, outward=False)
        self.guards.append(guard)
        with guard.up("running fit"):
            fitted = made.fit(model, self.data())
        model.eval()
        with guard.up("running after_training"):
            made.after_training(model, self.data())
        if fitted and apart:
            self._kept = made, model
        return made, model

    def predictor(self, made: Backend, model: nn.Module, guard: Guard | None = None) -> Predictor:
        size = self.recipe.view.size if self.squash else 2 * TILE
        device = torch.device("cpu")
        abstains = self.entry.info.abstains
        return Predictor(
            made, model, self.squash, TILE, 16, size, device, guard=guard, abstains=abstains
        )

    def image(self, shape: tuple[int, int] = (ROI, ROI)) -> np.ndarray:
        """A part of a phantom ROI, repeated where it is too small."""
        image = np.array(self.rois()[0].image())
        times = [-(-wanted // have) for wanted, have in zip(shape, image.shape, strict=False)]
        return np.tile(image, (*times, 1))[: shape[0], : shape[1]]

    def trains(self, made: Backend, model: nn.Module) -> Train:
        """Settings of a short training. Raises Skipped where the loop is not used."""
        if not self.entry.info.trains:
            raise Skipped("it is not trained")
        if self.recipe.train is None:
            raise Skipped("it trains by itself, without the harness's loop")
        if made.fit(model, self.data()):
            raise Skipped("it fits by itself, without the harness's loop")
        changed = {"warmup_steps": 0, "early_stopping": None, "batch_size": 2, "accumulate": 1}
        train = self.recipe.train.model_copy(update=changed)
        return train.model_copy(update={"budget": "suite", "unfreeze": train.unfreeze[:1]})

    def batch(self) -> Batch:
        """Two samples with an ignored quarter."""
        data = self.data()
        pairs = [data.sample(0, index) for index in range(2)]
        target = torch.stack([pair[1] for pair in pairs])
        target[:, : target.shape[1] // 2, : target.shape[2] // 2] = IGNORE
        return Batch(torch.stack([pair[0] for pair in pairs]), target, ["a", "b"], 0)

    def terms(self, made: Backend, model: nn.Module, batch: Batch) -> torch.Tensor:
        torch.manual_seed(1)
        return loop.total_of(made.loss(model, batch))
