"""nnU-Net as a backend: it is given the training split, and predicts with what it made of it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchbcss.contract import Backend
from benchbcss.errors import PluginError, WeightsError
from benchbcss.io import read_json
from benchbcss.temporary import remove
from benchbcss.training.samples import TrainingData
from benchbcss.weights import File, Folder
from benchbcss.weights.loading import Layout, load_into
from benchbcss.weights.reading import read
from benchbcss.weights.wrappings import state_dicts
from benchbcss_nnunet import process
from benchbcss_nnunet.export import DATASET, export, labels
from benchbcss_nnunet.network import PARTS, Planned
from benchbcss_nnunet.work import BEST, LATEST, NETWORK, PLANNED, TRAINED

_EXPORTED = "exported"


class NnUnet(Backend):
    """nnU-Net plans, trains and predicts; nothing of that is done here."""

    made_here = ("plan",)

    def build(self) -> nn.Module:
        """An empty module, or the network of a checkpoint: ours, or nnU-Net's own, whose labels
        must have the names of the suite's classes. Raises WeightsError."""
        model = Planned()
        weights = self.context.weights
        if isinstance(weights, File | Folder):
            if not self.context.evaluating:
                raise WeightsError(
                    "nnunet trains from its own start: leave --weights out, or score the weights "
                    "with: benchbcss evaluate nnunet --weights PATH"
                )
            parts = _parts(read(weights.verified()))
            if parts is None:
                raise WeightsError(
                    f"The weights {weights.path} are not of nnU-Net v2: they hold no plans. Pass a "
                    f"checkpoint_final.pth of nnU-Net, or checkpoints/final.safetensors of a run."
                )
            model.become(parts)
            self._heads(model)
        what = "the network that nnU-Net planned"
        load_into(model, self.context, Layout(what=what, parts={"network.": None}))
        return model

    def fit(self, model: nn.Module, samples: TrainingData) -> bool:
        """Export, plan, preprocess and train in the run's folder, from where that was left."""
        assert isinstance(model, Planned)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise PluginError("nnunet trains in one process: leave --processes out")
        folder = self.context.folder
        if folder is not None:
            self._fit(model, samples, folder)
            return True
        with tempfile.TemporaryDirectory(prefix="benchbcss-nnunet-") as scratch:
            self._fit(model, samples, Path(scratch))
        return True

    def _fit(self, model: Planned, samples: TrainingData, folder: Path) -> None:
        begun = time.monotonic()
        settings = self.recipe["model"]
        if not (folder / _EXPORTED).is_file():
            for name in ("raw", "preprocessed", PLANNED):
                remove(folder / name)
            folder.mkdir(parents=True, exist_ok=True)
            export(
                folder,
                self.task,
                settings["channels"],
                samples.rois(),
                samples.validation_rois(),
            )
            (folder / _EXPORTED).touch()
        device = self.context.device.type
        process.run(folder, {**settings, "device": device, "seed": self.context.seed})
        trained = read_json(folder / TRAINED)
        model.become(trained)
        assert model.network is not None
        model.network.load_state_dict(read(folder / NETWORK))
        self.context.notes["nnunet"] = {
            "version": metadata.version("nnunetv2"),
            "planner": settings["planner"],
            **trained["facts"],
            "iterations": settings["iterations"],
            "seconds": round(time.monotonic() - begun, 2),
        }
        self.context.peak_gpu_bytes = trained["peak_gpu_bytes"]
        _tidy(folder)

    def predict_roi(self, model: nn.Module, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> labels uint8 [H, W]: the likeliest of the suite's classes, of equals
        the one that nnU-Net takes, which is its first."""
        assert isinstance(model, Planned)
        settings = self.recipe["predict"]
        chances = model.probabilities(image, step=settings["step"], mirror=settings["mirror"])
        heads = self._heads(model)
        order = np.argsort(heads)
        return order.astype(np.uint8)[chances[np.array(heads)[order]].argmax(0)]

    def _heads(self, model: Planned) -> list[int]:
        """The output that stands for each class, by the names of nnU-Net's labels."""
        named: dict[str, Any] = model.parts["dataset"]["labels"]
        ours, numbers = labels(self.task)
        if {name: int(number) for name, number in named.items() if name != "ignore"} == {
            name: number for name, number in ours.items() if name != "ignore"
        }:
            return numbers
        lacking = [name for name in self.task.class_names if not isinstance(named.get(name), int)]
        if lacking:
            raise WeightsError(
                f"The weights were trained by nnU-Net with the labels {', '.join(named)}, and the "
                f"suite's class(es) {', '.join(lacking)} are not among them. Rename them in "
                f"init_args.dataset_json.labels of the checkpoint, or predict with nnU-Net and "
                f"use: benchbcss score PREDICTIONS --labels nnunet"
            )
        return [int(named[name]) for name in self.task.class_names]


def _parts(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What describes the network in a checkpoint of ours or of nnU-Net's; None in any other."""
    for _, tensors in state_dicts(content):
        for name, tensor in tensors.items():
            if name.split(".")[-1] == "plan" and tensor.dtype == torch.uint8:
                parts: dict[str, Any] = json.loads(bytes(tensor.numpy()))
                return parts if set(PARTS) <= set(parts) else None
    given = content.get("init_args")
    if not isinstance(given, Mapping) or not {"plans", "dataset_json"} <= set(given):
        return None
    return {
        "plans": given["plans"],
        "dataset": given["dataset_json"],
        "configuration": given["configuration"],
        "mirror": list(content.get("inference_allowed_mirroring_axes") or ()),
    }


def _tidy(folder: Path) -> None:
    """Leave plans, logs and nnU-Net's final checkpoint, which says all that the rest did."""
    for name in (_EXPORTED, PLANNED, "raw", "preprocessed", "tmp", NETWORK):
        remove(folder / name)
    for name in (BEST, LATEST):
        for path in folder.glob(f"results/{DATASET}/*/*/{name}"):
            remove(path)
