"""The guard of real runs, for a plugin's own tests; see ``benchbcss.inference.guard``."""

from __future__ import annotations

from benchbcss.inference.guard import ForbiddenAccess, Guard, lifted

__all__ = ["ForbiddenAccess", "Guard", "lifted"]
