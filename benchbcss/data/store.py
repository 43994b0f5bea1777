"""The tile store: each file is decoded once into a memory-mapped array.

Arrays are keyed by the SHA-256 of the source file (and by what else decides how it is read), so a
changed file is a new entry and the whole folder can be deleted at any time. Writers hold a file
lock and rename into place, so processes share one store. What is damaged is decoded again:
descriptions carry their own checksum, and hold that of their array, which is verified when a
process first reads the array, and whenever its size or time of change is not as it was left.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat as stat_module
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss.errors import DataError, RunError
from benchbcss.io import AGAIN, read_json, remedy, sha256, write_bytes, write_json
from benchbcss.temporary import beside, sweep

if TYPE_CHECKING:  # what is decoded already is found again without it
    import numpy as np

#: of how files are decoded; entries of older ones, which stretched or inverted grey masks of some
#: kinds and took images of 16 bits, are renewed
DECODER = 3
#: names of what a store holds: digests of sources, and decoded arrays with their descriptions
_OURS = re.compile(
    r"(?P<memo>[0-9a-f]{64}\.sha256)"
    r"|(?P<digest>[0-9a-f]{64})-(image|mask)(-[0-9a-f]{16})?\.(json|npy|lock)"
)


@dataclass(frozen=True)
class Entry:
    """One decoded file: where its array lies, its shape, and a mask's pixels per code."""

    sha256: str
    array: Path
    shape: tuple[int, ...]
    codes: dict[int, int]
    #: SHA-256 of the array: equal pixels, however their files are written
    pixels: str = ""
    #: of a mask: see ``ramps.ramps``
    ramps: tuple[int, int] = (0, 0)
    #: of a mask whose file has one: the colour, rrggbb, of each code
    palette: dict[int, str] = field(default_factory=dict)
    #: what beside the file's bytes decided the array (a colour table, a place within the file)
    variant: str = ""
    #: sees to it that the array is as it was decoded
    verify: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)

    def open(self) -> np.ndarray:
        """Read-only memory map: uint8 [H, W, 3] (image), uint8 or uint16 [H, W] (mask). A damaged
        array is decoded again. Raises DataError where that cannot be done."""
        import numpy as np

        self.verify()
        try:
            mapped: np.ndarray = np.load(self.array, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(
                f"The decoded copy {self.array} cannot be read: {error}. {AGAIN}."
            ) from error
        return mapped


class TileStore:
    """Decoded arrays under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._verified: set[tuple[Path, int, int]] = set()

    def entry(
        self,
        path: Path,
        kind: str,
        decode: Callable[[], np.ndarray] | None = None,
        variant: str = "",
    ) -> Entry:
        """Decode ``path`` (kind 'image' or 'mask') unless it is there already.

        ``decode`` reads it (default: as a file of its kind); ``variant`` names what else than the
        file's bytes decides the result. Raises DataError naming the file when it is corrupt or of
        the wrong mode.
        """
        digest = self._digest(path)
        stem = f"{digest}-{kind}"
        if variant:
            stem += f"-{hashlib.sha256(variant.encode()).hexdigest()[:16]}"
        array = self.root / f"{stem}.npy"
        read = decode or partial(_decode, path, kind)
        meta = _described(array) or self._decoded(path, kind, read, array)

        def verify() -> None:
            self._verify(path, digest, kind, read, array)

        return Entry(
            digest,
            array,
            tuple(meta["shape"]),
            {int(code): count for code, count in meta["codes"].items()},
            meta["array_sha256"],
            tuple(meta.get("ramps", (0, 0))),
            {int(code): colour for code, colour in meta.get("palette", {}).items()},
            variant,
            verify,
        )

    def _decoded(
        self,
        path: Path,
        kind: str,
        decode: Callable[[], np.ndarray],
        array: Path,
        thorough: bool = False,
    ) -> dict[str, Any]:
        """Decode ``path``, unless another process has done so meanwhile; its description."""
        with _locked(array.with_suffix(".lock")):
            meta = _described(array, thorough)
            if meta is None:
                sweep(self.root)
                meta = self._keep(path, decode(), kind, array)
                self._verified.add(_state(array))
        return meta

    def _verify(
        self, path: Path, digest: str, kind: str, decode: Callable[[], np.ndarray], array: Path
    ) -> None:
        """Read the whole array once, and compare it with its checksum: a few hundredths of what
        decoding takes. Decodes ``path`` again where it is another. Raises DataError."""
        with contextlib.suppress(OSError):
            if _state(array) in self._verified:
                return
        if _described(array, thorough=True) is None:
            print(f"{array} is not as it was written: {path} is decoded again", file=sys.stderr)
            if self._digest(path) != digest or sha256(path) != digest:
                raise DataError(
                    f"{path} has changed since it was looked at, and {array}, decoded from it "
                    f"then, is damaged. Run again."
                )
            self._decoded(path, kind, decode, array, thorough=True)
        self._verified.add(_state(array))

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
            raise DataError(
                f"{path} cannot be read: {error.strerror}. Put the file there again."
            ) from error
        if not stat_module.S_ISREG(stat.st_mode):  # a pipe would be waited for without end
            raise DataError(f"{path} is no regular file. Put the image file itself there.")
        key, memo = self._memo(path, stat)
        if remembered := _remembered(key, memo):
            return remembered
        try:
            digest = sha256(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        _make(self.root)
        write_bytes(memo, f"{digest} {_check_of(key, digest)}".encode())
        return digest

    def unused(self, sources: Iterable[Path]) -> list[Path]:
        """Files of the store that none of ``sources``, as they are now, leads to: what is decoded
        from files that are gone or have changed. Sources are not read, only looked at."""
        kept: set[str] = set()
        for path in sources:
            with contextlib.suppress(OSError):
                key, memo = self._memo(path, path.stat())
                if digest := _remembered(key, memo):
                    kept |= {memo.name, digest}
        if not self.root.is_dir():
            return []
        unused = []
        for item in sorted(self.root.iterdir()):
            match = _OURS.fullmatch(item.name)
            if match and (match["memo"] or match["digest"]) not in kept and item.is_file():
                unused.append(item)
        return unused

    def _memo(self, path: Path, stat: os.stat_result) -> tuple[str, Path]:
        """What identifies a file as it is, and where its SHA-256 is remembered."""
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        return key, self.root / f"{hashlib.sha256(os.fsencode(key)).hexdigest()}.sha256"

    def _keep(self, path: Path, array: np.ndarray, kind: str, array_path: Path) -> dict[str, Any]:
        import numpy as np

        from benchbcss.data.palettes import palette_of
        from benchbcss.data.ramps import ramps

        codes: dict[str, int] = {}
        meta: dict[str, Any] = {}
        if kind == "mask":
            counts = np.bincount(array.reshape(-1))
            codes = {str(code): int(counts[code]) for code in np.flatnonzero(counts)}
            meta["ramps"] = ramps(array)
            meta["palette"] = palette_of(path, lambda: map(int, codes))
        temporary = beside(array_path)
        try:
            with open(temporary, "wb") as handle:
                np.save(handle, array)
                handle.flush()
                os.fsync(handle.fileno())
            digest = sha256(temporary)
            os.replace(temporary, array_path)
        except OSError as error:
            raise DataError(
                f"The decoded copy of {path.name} cannot be written to {self.root}: "
                f"{error.strerror}. Free space there, or choose another --workspace."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        meta |= {
            "source": path.name,
            "decoder": DECODER,
            "shape": list(array.shape),
            "codes": codes,
            "array_sha256": digest,
        }
        _describe(array_path, meta)  # last: an entry exists once its description does
        return meta


def _decode(path: Path, kind: str) -> np.ndarray:
    from benchbcss.data.images import decode_image, decode_mask

    return decode_image(path) if kind == "image" else decode_mask(path)


def _remembered(key: str, memo: Path) -> str | None:
    """The SHA-256 that ``memo`` holds for ``key``; None where it is not there, or damaged."""
    try:
        # a pipe by that name would be waited for without end
        digest, check = (memo.read_text(encoding="ascii") if memo.is_file() else "").split()
    except (OSError, ValueError):
        return None
    return digest if check == _check_of(key, digest) else None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be made: {error.strerror or error}. {remedy(error)}"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Be the only one who writes an entry; waits for another. Raises RunError."""
    from filelock import FileLock

    _make(path.parent)
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        why = error.strerror or error
        raise RunError(f"{path} cannot be locked: {why}. {remedy(error)}") from error
    try:
        yield
    finally:
        lock.release()


def _state(array: Path) -> tuple[Path, int, int]:
    """What changes when another array is put in the place of this one. Raises OSError."""
    stat = array.stat()
    return array, stat.st_ino, stat.st_mtime_ns


def _describe(array: Path, meta: dict[str, Any]) -> None:
    """Write an array's description, with its size and time of change, and its own check."""
    stat = array.stat()
    meta |= {"size": stat.st_size, "changed": stat.st_mtime_ns}
    check = _check_of(json.dumps(meta, sort_keys=True))
    write_json(array.with_suffix(".json"), {**meta, "check": check})


def _check_of(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()


def _described(array: Path, thorough: bool = False) -> dict[str, Any] | None:
    """What the store knows of an array, or None if it is to be decoded (again). ``thorough``:
    compare its checksum even where size and time of change are as they were left."""
    described = array.with_suffix(".json")
    if not (described.is_file() and array.is_file()):
        return None
    try:
        meta: dict[str, Any] = read_json(described)
        check = meta.pop("check", None)
        stat = array.stat()
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    if check != _check_of(json.dumps(meta, sort_keys=True)):
        return None
    if meta["decoder"] != DECODER:
        return None
    as_left = (stat.st_size, stat.st_mtime_ns) == (meta["size"], meta["changed"])
    if thorough or not as_left:
        try:
            if sha256(array) != meta["array_sha256"]:
                return None
        except OSError:  # a failing disk
            return None
    if not as_left:  # a copied store: as it was, only the time is another
        with contextlib.suppress(RunError):  # on a read-only disk it is looked at each time
            _describe(array, meta)
    return meta
