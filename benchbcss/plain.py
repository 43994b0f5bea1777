"""What a plugin says of its run, as JSON holds it: nothing that it says may cost a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_LONGEST = 1000  # values of an array; characters of anything else


def plain(value: Any) -> Any:
    """``value`` as what JSON has: numpy's and torch's numbers as numbers, small arrays as lists,
    NaN and infinities as None, and whatever else as text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    shape = getattr(value, "shape", None)  # of arrays, tensors and numpy's scalars
    if isinstance(shape, tuple) and math.prod(shape) <= _LONGEST:
        try:
            return plain(value.tolist())
        except Exception:  # a tensor without content, say
            pass
    try:
        return str(value)[:_LONGEST]
    except Exception:
        return f"a {type(value).__name__}"
