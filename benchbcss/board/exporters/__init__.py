"""Formats of a leaderboard, and how one is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchbcss import registry
from benchbcss.protocols import ExporterInfo
from benchbcss.registered import Registered


def choose(form: str | None, output: Path | None) -> Registered[ExporterInfo, Any]:
    """The exporter called ``form``; without one the first of the ending of ``output``, and a table
    for other endings and for none. Raises UnknownNameError, and PluginError where it lacks
    something."""
    exporters = registry.load().exporters
    ending = output.suffix.lower() if output else None
    by_ending = (entry for entry in exporters.values() if entry.info.extension == ending)
    chosen = exporters.find(form) if form else next(by_ending, exporters["table"])
    chosen.require()
    return chosen
