"""What commands and functions fall back on where a user names neither workspace nor data."""

from __future__ import annotations

import os
from pathlib import Path

WORKSPACE = "benchbcss-workspace"
WORKSPACE_VARIABLE, DATA_VARIABLE = "BENCHBCSS_WORKSPACE", "BENCHBCSS_DATA"


def workspace(given: str | os.PathLike[str] | None = None) -> Path:
    """``given``, else what the environment variable says, else a folder in the current one."""
    return Path(given or os.environ.get(WORKSPACE_VARIABLE) or WORKSPACE)


def data(given: str | os.PathLike[str] | None = None) -> Path | None:
    """``given``, else what the environment variable says; None stands for the phantom."""
    text = given or os.environ.get(DATA_VARIABLE)
    return Path(text) if text else None
