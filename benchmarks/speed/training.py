"""The training loop against a bare one: the same network, samples and optimiser, equal weights."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchbcss.contract import Backend, Batch, Context, Task
from benchbcss.recipes import Train
from benchbcss.suites import Budget
from benchbcss.training import loop
from benchbcss.training.losses import cross_entropy
from benchbcss.training.samples import TrainingData
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer
from benchmarks.speed.pictures import LABEL_MAP, draw_roi
from benchmarks.speed.timing import OURS, Case

ROIS, BATCH, RATE, CLIP, SEED, WIDTH = 4, 2, 1e-3, 1.0, 0, 32


class _Small(Backend):
    """Of few parameters: a checkpoint at the start and the end is no part of a loop's steps."""

    def build(self) -> nn.Module:
        torch.manual_seed(SEED)
        classes = len(self.task.class_names)
        layers = [nn.Conv2d(3, WIDTH, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, classes, 1)]
        return nn.Sequential(*layers).train()

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"all": list(model.parameters())}

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"ce": cross_entropy(model(batch.image), batch.target)}


def _backend(tile: int) -> _Small:
    task = Task(LABEL_MAP.class_names, LABEL_MAP.mean_classes, 0.25, tile)
    context = Context(SEED, torch.device("cpu"), "none", False, [1] * len(LABEL_MAP.class_names))
    return _Small(task, {}, context)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def case(folder: Path, tile: int, steps: int) -> Case:
    roi, _, _ = draw_roi(folder, 1)
    data = TrainingData([roi] * ROIS, LABEL_MAP, tile, None, SEED)
    turns = itertools.count()

    def ours() -> Tensor:
        backend = _backend(tile)
        model = backend.build()
        recipe = Train(lr=RATE, lr_end=RATE, batch_size=BATCH, clip_norm=CLIP)
        length = plan(recipe, Budget(steps=steps), len(data))
        run_dir = folder / f"run{next(turns)}"
        run_dir.mkdir()
        accelerator = Accelerator(cpu=True)
        trainer = Trainer(backend, model, recipe, length, accelerator, run_dir, seed=SEED)
        loop.train(trainer, data)
        return _weights(model)

    def bare() -> Tensor:
        model = _backend(tile).build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
        places = ((epoch, index) for epoch in itertools.count() for index in data.order(epoch))
        for _ in range(steps):
            samples = [data.sample(*place) for place in itertools.islice(places, BATCH)]
            image, target = (torch.stack(part) for part in zip(*samples, strict=True))
            optimizer.zero_grad()
            cross_entropy(model(image), target).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        return _weights(model)

    def check(answers: Mapping[str, Any]) -> None:
        assert torch.equal(answers[OURS], answers["a bare loop"])

    name = f"{steps} steps on {BATCH} tiles of {tile} px"
    return Case(name, {OURS: ours, "a bare loop": bare}, check)


def cases() -> Iterator[Case]:
    for tile, steps in ((64, 100), (256, 20), (512, 6)):
        with tempfile.TemporaryDirectory() as folder:
            yield case(Path(folder), tile, steps)
