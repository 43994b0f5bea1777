"""The pixel lengths of the brief's procedure, from ``brief.yaml``, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Brief:
    """See the comments in ``brief.yaml``."""

    side: int
    outside: float
    closing: int


BRIEF = Brief(**yaml.safe_load((Path(__file__).parent / "brief.yaml").read_text("utf-8")))
