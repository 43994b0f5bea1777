"""Predictions on disk: label maps (semantic), or one bit per class (prompted), as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchbcss.data.store import decode_mask
from benchbcss.errors import DataError, PluginError


def folder(run_dir: Path, prompting: str | None = None) -> Path:
    """Where the PNGs of the semantic track lie, or of the prompted track's ``prompting``."""
    base = run_dir / "predictions"
    return base / "semantic" if prompting is None else base / "prompted" / prompting


def pack(found: dict[int, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """{label: bool [H, W]} -> uint8 [H, W] with bit ``label`` set; masks may overlap."""
    packed = np.zeros(shape, np.uint8)
    for label, mask in found.items():
        if label > 7:
            raise PluginError("prompted masks are stored for the first 8 labels only")
        packed |= mask.astype(np.uint8) << label
    return packed


def unpack(packed: np.ndarray, label: int) -> np.ndarray:
    """bool [H, W] of one label."""
    mask: np.ndarray = (packed >> label) & 1 == 1
    return mask


def png(image: Image.Image) -> bytes:
    """Lossless; a low compression level, since label maps shrink anyway."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W] of a stored prediction. Raises DataError if it is missing or mis-sized."""
    if not path.is_file():
        raise DataError(f"The prediction {path} is missing. Run the backend again.")
    array = decode_mask(path)
    if array.shape != shape:
        raise DataError(f"The prediction {path} is {array.shape}, its mask is {shape}.")
    return array
