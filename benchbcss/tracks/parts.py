"""Naming and scoring go on ROI by ROI: what was found of each is kept until all are scored.

A part lies in ``scoring/STEP/`` of the run's folder, and is believed only if it is whole and of
the very same predictions, mask, label map and metrics.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbcss.io import sha256, write_bytes
from benchbcss.results.schema import METRICS_VERSION
from benchbcss.temporary import remove

if TYPE_CHECKING:
    from benchbcss.data.dataset import Roi
    from benchbcss.tracks.base import Frame, Track

FOLDER = "scoring"
_DIGEST = 32  # bytes of SHA-256, before the arrays

Arrays = Mapping[str, np.ndarray]


def measured(track: Track, frame: Frame, roi: Roi, run_dir: Path) -> Arrays:
    """``track.measure`` of the ROI, or what it returned before this process was started."""
    decisive = [
        *known(frame, roi, run_dir, track.files(frame, roi.name, run_dir)),
        *(frame.abstaining, frame.suite.mpp),
        [prompting.key for prompting in frame.promptings],
    ]
    make = partial(track.measure, frame, roi, run_dir)
    return kept(run_dir, track.name, roi.name, decisive, make)


def known(frame: Frame, roi: Roi, run_dir: Path, pictures: Iterable[Path]) -> list[Any]:
    """What decides everything that is found of an ROI and its stored ``pictures``, beside the
    program itself: as plain data."""
    return [
        *(METRICS_VERSION, frame.labels.fingerprint()),
        *([entry.sha256, entry.variant] for entry in (roi.image_entry, roi.mask_entry)),
        [
            [path.relative_to(run_dir).as_posix(), sha256(path)]
            for path in pictures
            if path.is_file()
        ],
    ]


def kept(
    run_dir: Path, step: str, roi: str, decisive: Sequence[Any], make: Callable[[], Arrays]
) -> Arrays:
    """What ``make`` returns, or returned for the same ROI and ``decisive`` (plain data: everything
    that the arrays follow from) before this process was started."""
    key = json.dumps([step, roi, *decisive]).encode()
    path = path_of(run_dir, step, roi)
    before = _read(path, key)
    if before is not None:
        return before
    arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _packed(arrays)
    # With a checksum of its own: it goes again, so that no list should name it.
    write_bytes(path, _digest(key, content) + content, listed=False)
    return arrays


def path_of(run_dir: Path, step: str, roi: str) -> Path:
    """Not named after the ROI: its name may be of the greatest length."""
    name = hashlib.sha256(roi.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return run_dir / FOLDER / step / name


def discard(run_dir: Path) -> None:
    """Remove all parts: everything is counted, or is to be counted anew."""
    remove(run_dir / FOLDER)


def _digest(key: bytes, content: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(key).digest() + content).digest()


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read(path: Path, key: bytes) -> Arrays | None:
    try:
        whole = path.read_bytes()
        content = whole[_DIGEST:]
        if whole[:_DIGEST] != _digest(key, content):
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
