"""Predictions as PNG: label maps that a viewer shows in colours, and masks as bits.

Masks of several classes may overlap, so each class has a bit. Eight classes share a byte; further
classes follow in planes below the first, so a picture of K classes is ceil(K / 8) times as high as
its ROI.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from benchbcss.data.images import decode_mask, size_of
from benchbcss.errors import DataError
from benchbcss.io import AGAIN, verify

BITS = 8
#: distinct colours for viewers, label by label (Okabe and Ito 2008, safe for colour-blind eyes)
COLOURS = (
    (213, 94, 0),
    (86, 180, 233),
    (0, 114, 178),
    (240, 228, 66),
    (204, 121, 167),
    (200, 200, 200),
    (0, 158, 115),
    (230, 159, 0),
)
#: share of black (below 0) or of white that tells further rounds of them apart
_SHADES = (0.0, -0.5, 0.55, -0.75, 0.8)


def colour(label: int) -> tuple[int, int, int]:
    """Of a label: further classes have the same colours, darker or lighter."""
    turn, place = divmod(label, len(COLOURS))
    shade = _SHADES[turn % len(_SHADES)]
    paper = 255 if shade > 0 else 0
    red, green, blue = (round(c + abs(shade) * (paper - c)) for c in COLOURS[place])
    return red, green, blue


def label_map(labels: np.ndarray) -> bytes:
    """PNG of uint8 [H, W] with a palette; the stored values are the labels."""
    image = Image.fromarray(labels)
    image.putpalette([part for index in range(256) for part in colour(index)])
    return _png(image)


def masks(packed: np.ndarray) -> bytes:
    """PNG of ``pack``'s planes."""
    return _png(Image.fromarray(packed))


def _png(image: Image.Image) -> bytes:
    """Lossless; a low compression level, since label maps shrink anyway."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def pack(
    masks_by_label: Mapping[int, np.ndarray], shape: tuple[int, int], classes: int
) -> np.ndarray:
    """{label: bool [H, W]} -> uint8 [planes * H, W] with one bit for each of ``classes`` labels."""
    height, width = shape
    packed = np.zeros((planes(classes), height, width), np.uint8)
    for label, mask in masks_by_label.items():
        packed[label // BITS] |= mask.astype(np.uint8) << (label % BITS)
    return packed.reshape(-1, width)


def unpack(packed: np.ndarray, label: int, height: int) -> np.ndarray:
    """bool [H, W] of one label."""
    plane = packed[label // BITS * height : (label // BITS + 1) * height]
    mask: np.ndarray = (plane >> (label % BITS)) & 1 == 1
    return mask


def unpacked(packed: np.ndarray, labels: Iterable[int], height: int) -> dict[int, np.ndarray]:
    return {label: unpack(packed, label, height) for label in labels}


def planes(classes: int) -> int:
    return max(1, -(-classes // BITS))


def read(path: Path, shape: tuple[int, int], classes: int = 1) -> np.ndarray:
    """uint8 of a stored prediction: labels [H, W], or the planes of ``classes`` masks. Raises
    DataError if it is missing or mis-sized."""
    if not path.is_file():
        raise DataError(f"The prediction {path} is missing. {AGAIN}.")
    verify(path, f"{AGAIN}.")
    height, width = shape
    wanted = (height * planes(classes), width)
    size = size_of(path)  # before it is decoded, which could take any memory
    if size is not None and size != wanted:
        raise DataError(f"The prediction {path} is {size}, its mask is {shape}. {AGAIN}.")
    return decode_mask(path)
