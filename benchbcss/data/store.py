"""The tile store: each PNG is decoded once into a memory-mapped array.

Arrays are keyed by the SHA-256 of the source file, so a changed file is a new entry and the
whole folder can be deleted at any time. Writers hold a file lock and rename into place, so
processes share one store.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from benchbcss.errors import DataError
from benchbcss.io import sha256, write_json

MAX_PIXELS = 1_000_000_000  # the largest BCSS ROI at base scale has 126 Mpx; Pillow stops at 89


@dataclass(frozen=True)
class Entry:
    """One decoded file: where its array lies, its shape, and a mask's pixels per code."""

    sha256: str
    array: Path
    shape: tuple[int, ...]
    codes: dict[int, int]

    def open(self) -> np.ndarray:
        """Read-only memory map: uint8 [H, W, 3] (image) or [H, W] (mask)."""
        mapped: np.ndarray = np.load(self.array, mmap_mode="r")
        return mapped


class TileStore:
    """Decoded arrays under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def entry(self, path: Path, kind: str) -> Entry:
        """Decode ``path`` (kind 'image' or 'mask') unless it is there already.

        Raises DataError naming the file when it is corrupt or of the wrong mode.
        """
        digest = self._digest(path)
        meta_path = self.root / f"{digest}-{kind}.json"
        array_path = meta_path.with_suffix(".npy")
        if not meta_path.is_file():
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f"{digest}-{kind}.lock"):
                if not meta_path.is_file():
                    self._decode(path, kind, array_path, meta_path)
        meta = json.loads(meta_path.read_text(encoding="utf-8"))
        return Entry(
            digest,
            array_path,
            tuple(meta["shape"]),
            {int(code): count for code, count in meta["codes"].items()},
        )

    def size(self) -> int:
        """Bytes on disk."""
        if not self.root.is_dir():
            return 0
        return sum(item.stat().st_size for item in self.root.iterdir() if item.is_file())

    def _digest(self, path: Path) -> str:
        """SHA-256 of the file, remembered by path, size and modification time."""
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        memo = self.root / f"{hashlib.sha256(key.encode()).hexdigest()}.sha256"
        if memo.is_file():
            digest = memo.read_text(encoding="ascii").strip()
            if len(digest) == 64:
                return digest
        digest = sha256(path)
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = memo.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(digest, encoding="ascii")
        os.replace(temporary, memo)
        return digest

    def _decode(self, path: Path, kind: str, array_path: Path, meta_path: Path) -> None:
        array = decode_image(path) if kind == "image" else decode_mask(path)
        codes: dict[str, int] = {}
        if kind == "mask":
            counts = np.bincount(array.reshape(-1), minlength=256)
            codes = {str(code): int(counts[code]) for code in np.flatnonzero(counts)}
        temporary = array_path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as handle:
                np.save(handle, array)
            os.replace(temporary, array_path)
        except OSError as error:
            raise DataError(
                f"The decoded copy of {path.name} cannot be written to {self.root}: "
                f"{error.strerror}. Free space there, or choose another --workspace."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        meta: dict[str, Any] = {"source": path.name, "shape": array.shape, "codes": codes}
        write_json(meta_path, meta)  # last: an entry exists once its description does


def decode_image(path: Path) -> np.ndarray:
    """PNG -> uint8 [H, W, 3]. Raises DataError naming the file."""
    return _decode(path, ("RGB", "RGBA"), "an RGB image")[..., :3]


def decode_mask(path: Path) -> np.ndarray:
    """PNG -> uint8 [H, W] of codes (grey or palette indices). Raises DataError."""
    return _decode(path, ("L", "P", "1"), "a mask with one 8-bit channel of codes")


def _decode(path: Path, modes: tuple[str, ...], wanted: str) -> np.ndarray:
    try:
        with _no_pixel_limit(), Image.open(path) as image:
            if image.mode not in modes:
                raise DataError(f"{path} is not {wanted}: its mode is {image.mode}.")
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path} has more than {MAX_PIXELS:,} pixels.")
            return np.asarray(image, dtype=np.uint8)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be decoded ({error}). The file is corrupt or truncated: copy it again."
        ) from error


class _no_pixel_limit:
    """Pillow's decompression-bomb limit is lower than the largest real ROI."""

    def __enter__(self) -> None:
        self.old = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None

    def __exit__(self, *_: object) -> None:
        Image.MAX_IMAGE_PIXELS = self.old
