"""What processes that train together tell one another."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list


def of_first(accelerator: Accelerator, value: Any) -> Any:
    """The first process's ``value``, in every process."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value
