"""nnU-Net's trainer with other lengths, and nothing else of it changed."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerBenchbcss(nnUNetTrainer):
    """``lengths`` are the recipe's: epochs, iterations, validation_iterations, save_every."""

    lengths: dict[str, int] = {}  # noqa: RUF012 - set once, by trainer_of

    # nnU-Net looks its arguments up in this signature, so they are written out.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.lengths["epochs"]
        self.num_iterations_per_epoch = self.lengths["iterations"]
        self.num_val_iterations_per_epoch = self.lengths["validation_iterations"]
        self.save_every = self.lengths["save_every"]


def trainer_of(settings: dict[str, Any]) -> type[nnUNetTrainerBenchbcss]:
    """The trainer with the lengths of ``settings``."""
    names = ("epochs", "iterations", "validation_iterations", "save_every")
    nnUNetTrainerBenchbcss.lengths = {name: int(settings[name]) for name in names}
    return nnUNetTrainerBenchbcss
