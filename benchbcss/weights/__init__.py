"""Weights, as one value: parsed once in planning, hashed by content, loaded by one helper.

Nothing here imports torch; what touches tensors is in ``weights.reading`` and ``weights.loading``.
"""

from benchbcss.weights.hub import fetch, missing, reachable
from benchbcss.weights.provenance import Provenance
from benchbcss.weights.value import (
    SUFFIXES,
    AnyWeights,
    Auto,
    File,
    Folder,
    Hub,
    Random,
    Weights,
    digest,
)

__all__ = [
    "SUFFIXES",
    "AnyWeights",
    "Auto",
    "File",
    "Folder",
    "Hub",
    "Provenance",
    "Random",
    "Weights",
    "digest",
    "fetch",
    "missing",
    "reachable",
]
