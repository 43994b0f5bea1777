"""Published numbers, kept apart: they carry a source and never a rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchbcss import yaml_text


def path() -> Path:
    """``reported.yaml``: inside an installed wheel, or in ``leaderboard/`` of a checkout."""
    package = Path(__file__).parent
    shipped = package / "reported.yaml"
    return shipped if shipped.is_file() else package.parents[1] / "leaderboard" / "reported.yaml"


def load() -> list[dict[str, Any]]:
    """The entries in file order."""
    entries: list[dict[str, Any]] = yaml_text.load(path().read_text(encoding="utf-8"))
    return entries
