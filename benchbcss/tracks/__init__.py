"""The two tracks as objects: what a track predicts, stores, counts, validates with and shows.

Nothing outside this package asks which track it has in hand: it calls the track.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchbcss.errors import UnknownNameError
from benchbcss.tracks.base import Track
from benchbcss.tracks.prompted import Prompted
from benchbcss.tracks.semantic import Semantic

#: in the order in which boards show them
TRACKS: dict[str, Track] = {track.name: track for track in (Semantic(), Prompted())}


def get(name: str) -> Track:
    """Raises UnknownNameError."""
    if name not in TRACKS:
        raise UnknownNameError("track", name, TRACKS)
    return TRACKS[name]


def shared(*wanted: Iterable[str]) -> list[Track]:
    """The tracks named in every one of ``wanted``, in the board's order."""
    return [track for name, track in TRACKS.items() if all(name in names for names in wanted)]
