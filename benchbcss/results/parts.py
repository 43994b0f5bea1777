"""Scoring goes on ROI by ROI: what was counted of each is kept until all are counted.

A part lies in ``scoring/TRACK/`` of the run's folder, and is believed only if it is whole and of
the very same predictions, mask, label map and metrics.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchbcss.data.dataset import Roi
from benchbcss.io import sha256, write_bytes
from benchbcss.results.schema import METRICS_VERSION
from benchbcss.tracks.base import Frame, Track

FOLDER = "scoring"
_DIGEST = 32  # bytes of SHA-256, before the arrays

Arrays = Mapping[str, np.ndarray]


def measured(track: Track, frame: Frame, roi: Roi, run_dir: Path) -> Arrays:
    """``track.measure`` of the ROI, or what it returned before this process was started."""
    key = _key(track, frame, roi, run_dir)
    path = path_of(run_dir, track.name, roi.name)
    kept = _read(path, key)
    if kept is not None:
        return kept
    arrays = track.measure(frame, roi, run_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _packed(arrays)
    # With a checksum of its own: it goes again, so that no list should name it.
    write_bytes(path, _digest(key, content) + content, listed=False)
    return arrays


def path_of(run_dir: Path, track: str, roi: str) -> Path:
    """Not named after the ROI: its name may be of the greatest length."""
    name = hashlib.sha256(roi.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return run_dir / FOLDER / track / name


def discard(run_dir: Path) -> None:
    """Remove all parts: everything is counted, or is to be counted anew."""
    shutil.rmtree(run_dir / FOLDER, ignore_errors=True)


def _key(track: Track, frame: Frame, roi: Roi, run_dir: Path) -> bytes:
    """Everything that decides what is counted, beside the program itself."""
    pictures = [path for path in track.files(frame, roi.name, run_dir) if path.is_file()]
    decisive = [
        *(METRICS_VERSION, track.name, roi.name, frame.abstaining, frame.suite.mpp),
        *(frame.labels.fingerprint(), roi.mask_entry.sha256, roi.mask_entry.variant),
        [prompting.key for prompting in frame.promptings],
        [[path.relative_to(run_dir).as_posix(), sha256(path)] for path in pictures],
    ]
    return json.dumps(decisive).encode()


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
