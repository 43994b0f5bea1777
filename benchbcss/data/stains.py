"""Stain vectors in optical density, each with its source in ``stains.yaml``."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import yaml

Vector = tuple[float, float, float]


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, list[float]]]:
    text = (resources.files("benchbcss.data") / "stains.yaml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, list[float]]] = yaml.safe_load(text)
    return tables


def stain_vectors(*stains: str, source: str = "ruifrok_johnston") -> tuple[Vector, ...]:
    """Rows of an optical-density matrix, one (red, green, blue) per stain, as published.

    They are not of unit length. Raises KeyError for a stain or a source that is not in the file.
    """
    table = _tables()[source]
    return tuple((red, green, blue) for red, green, blue in (table[stain] for stain in stains))
