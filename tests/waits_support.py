"""Counts how often a computation waits for its device."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: what fetches a number, or a shape that depends on numbers, from the device
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique2", "_unique2", "unique_dim"}


class Waits(TorchDispatchMode):
    """``names``: the operations that would have waited for a GPU, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITING or by_mask:
            self.names.append(name)
        return func(*args, **(kwargs or {}))
