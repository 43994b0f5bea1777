"""Masks as bits: 64 pixels of a row in a word, so that a pass over a mask reads an eighth of it.

A mask is ``<u8`` [H, ceil(W / 64)]; column x is bit x % 64 of word x // 64, and bits past the last
column are 0. What is outside a mask counts as outside the set.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

WORD = np.dtype("<u8")
_BITS = 64


def pack(mask: np.ndarray) -> np.ndarray:
    """Bits of bool [H, W]."""
    height, width = mask.shape
    packed = np.zeros((height, -(-width // _BITS) * WORD.itemsize), np.uint8)
    bytes_used = -(-width // 8)
    packed[:, :bytes_used] = np.packbits(mask, axis=1, bitorder="little")
    return packed.view(WORD)


def unpack(bits: np.ndarray, width: int) -> np.ndarray:
    """uint8 [H, W] of 0 and 1."""
    return np.unpackbits(bits.view(np.uint8), axis=1, count=width, bitorder="little")


def count(bits: np.ndarray) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def right(bits: np.ndarray, step: int, out: np.ndarray | None = None) -> np.ndarray:
    """Moved by 1 to 63 columns, towards higher ones; what leaves the last word is lost."""
    moved = np.left_shift(bits, np.uint64(step), out=out)
    moved[:, 1:] |= bits[:, :-1] >> np.uint64(_BITS - step)
    return moved


def left(bits: np.ndarray, step: int, out: np.ndarray | None = None) -> np.ndarray:
    """Moved by 1 to 63 columns, towards lower ones."""
    moved = np.right_shift(bits, np.uint64(step), out=out)
    moved[:, :-1] |= bits[:, 1:] << np.uint64(_BITS - step)
    return moved


def surface(bits: np.ndarray) -> np.ndarray:
    """The elements with one of their four neighbours outside the mask."""
    core = right(bits, 1)
    core &= left(bits, 1)
    core[1:] &= bits[:-1]
    core[:-1] &= bits[1:]
    core[[0, -1]] = 0
    core &= bits
    return bits ^ core


def dilate(bits: np.ndarray, radius: float) -> np.ndarray:
    """Everything at most ``radius`` from an element, between centres; bits past the last column may
    be set.

    A disc is a stack of rows that grow towards its middle. So the mask is widened step by step to
    the width of each, which is ORed into the rows above and below at that row's distance.
    """
    wide, near = bits.copy(), np.zeros_like(bits)
    moved = np.empty_like(bits)
    reached, widths = 0, half_widths(radius)
    for distance in range(len(widths) - 1, -1, -1):
        while reached < widths[distance]:
            # A longer step would leave a gap between what it adds and what is there.
            step = min(widths[distance] - reached, reached + 1, _BITS - 1)
            both = left(wide, step)
            both |= right(wide, step, moved)
            wide |= both
            reached += step
        if distance == 0:
            near |= wide
        elif distance < len(bits):
            near[distance:] |= wide[:-distance]
            near[:-distance] |= wide[distance:]
    return near


@lru_cache(maxsize=16)
def half_widths(radius: float) -> tuple[int, ...]:
    """Of the rows of a disc at distance 0, 1, ... from its middle: how far each reaches aside."""
    axis = np.arange(int(radius) + 1)
    inside = axis[:, None] ** 2 + axis**2 <= radius**2
    return tuple(int(row.sum()) - 1 for row in inside)
