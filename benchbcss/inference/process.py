"""What a process has one of, and what plugin code may therefore not leave changed."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The working directory, and torch's defaults; None where torch is not imported."""

    folder: str | None
    dtype: Any = None
    device: Any = None
    grad: bool | None = None

    @classmethod
    def now(cls) -> Settings:
        try:
            folder: str | None = os.getcwd()
        except OSError:  # it has been removed
            folder = None
        torch = sys.modules.get("torch")
        if torch is None or not hasattr(torch, "get_default_device"):  # half imported
            return cls(folder)
        return cls(
            folder, torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        )

    def put_back(self) -> list[str]:
        """Make them what they were; says what was not."""
        now = Settings.now()
        if now == self:
            return []
        changed = []
        if self.folder is not None and now.folder != self.folder:
            os.chdir(self.folder)
            changed.append(f"the working directory, to {now.folder}")
        if self.dtype is None:  # torch was not imported before
            return changed
        import torch

        if now.dtype != self.dtype:
            torch.set_default_dtype(self.dtype)
            changed.append(f"torch's default dtype, to {now.dtype}")
        if now.device != self.device:
            torch.set_default_device(None if self.device.type == "cpu" else self.device)
            changed.append(f"torch's default device, to {now.device}")
        if now.grad != self.grad:
            torch.set_grad_enabled(bool(self.grad))
            changed.append(f"whether torch computes gradients, to {now.grad}")
        return changed
