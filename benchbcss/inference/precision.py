"""In which precision a network runs: in training, validation, prediction, and wherever it is asked
for features."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from benchbcss.errors import InputError

#: begins a ``with`` in which the network runs
Autocast = Callable[[], AbstractContextManager[object]]

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """``fp32``, or mixed precision: operations in ``bf16`` or ``fp16`` where PyTorch holds that
    safe, weights in float32. In ``fp16`` the loss is scaled while training."""

    name: Literal["fp32", "bf16", "fp16"]
    device: torch.device

    @classmethod
    def chosen(
        cls, wanted: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device
    ) -> Precision:
        """As a recipe's ``train.precision`` says. ``auto`` on a GPU is bf16 where its cores compute
        in bf16 (not where PyTorch only emulates it), else fp16; elsewhere it is fp32.

        Raises InputError for a bf16 that is asked for by name on a GPU that lacks it.
        """
        cuda = device.type == "cuda"
        if cuda and wanted in ("auto", "bf16"):
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return cls("bf16", device)
            if wanted == "bf16":
                raise InputError(
                    f"train.precision=bf16: {torch.cuda.get_device_name(device)} does not compute "
                    f"in bf16. Use train.precision=fp16, or auto."
                )
            return cls("fp16", device)
        return cls("fp32" if wanted == "auto" else wanted, device)

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, the network runs in this precision."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, _HALF[self.name])


def full(device: torch.device) -> AbstractContextManager[object]:
    """Inside, float32 stays float32, whatever the precision around it."""
    return torch.autocast(device.type, enabled=False)
