"""A network of two layers, and its training on four ROIs of the fixture ``folder``."""

from dataclasses import replace

import torch
from accelerate import Accelerator

from benchbcss.contract import Backend, Context, Task
from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.store import TileStore
from benchbcss.recipes import Train
from benchbcss.suites import Budget
from benchbcss.training import loop
from benchbcss.training.losses import cross_entropy
from benchbcss.training.samples import TrainingData
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer


class Stop(Exception):
    """Stands for a kill."""


class Tiny(Backend):
    def build(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Dropout(0.2), torch.nn.Conv2d(8, 6, 1)
        )

    def parameter_groups(self, model):
        return {"first": list(model[0].parameters()), "last": list(model[2].parameters())}

    def loss(self, model, batch):
        return {"ce": cross_entropy(model(batch.image), batch.target)}


def samples(folder, tmp_path, rois=4, **settings):
    source = Dataset(folder, TileStore(tmp_path / "store"))
    labels = label_map("bcss5")
    rois = source.rois(source.names[:rois], labels)
    data = TrainingData(list(rois.values()), labels, 32, None, 7)
    for name, value in settings.items():
        setattr(data, name, value)
    return data


def train(
    folder,
    tmp_path,
    run,
    steps=12,
    backend=Tiny,
    *,
    rois=4,
    validate=None,
    validate_whole=None,
    every=None,
    candidates=1,
    on_epoch=None,
    on_start=None,
    on_step=None,
    **settings,
):
    data = samples(folder, tmp_path, rois)
    options = {"lr": 1e-2, "batch_size": 2, "warmup_steps": 2, **settings}
    recipe = Train.model_validate(options)
    task = Task(data.labels.class_names, data.labels.mean_classes, 0.3, 32)
    made = backend(task, {}, Context(0, torch.device("cpu"), "none", False, [1] * 6))
    model = made.build()
    run_dir = tmp_path / run
    run_dir.mkdir(exist_ok=True)
    budget = plan(recipe, Budget(steps=steps), len(data))
    budget = replace(budget, validate_every=every or recipe.validate_every, candidates=candidates)
    trainer = Trainer(made, model, recipe, budget, Accelerator(cpu=True), run_dir, seed=7)
    told = {"on_epoch": on_epoch, "on_start": on_start, "on_step": on_step}
    validations = {"validate": validate, "validate_whole": validate_whole}
    return model, loop.train(trainer, data, **validations, **told)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])
