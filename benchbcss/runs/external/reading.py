"""Folders and .zip files of label maps: what lies in them, which ROI it is of, its values.

Nothing is ever written by a name that an archive holds: one entry at a time is unpacked into one
file of ours, within the limits of ``limits.yaml``.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import tempfile
import tokenize
import unicodedata
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchbcss.data import class_maps
from benchbcss.data.files import everything
from benchbcss.data.formats import LOSSY, PACKED, Colour, elsewhere
from benchbcss.data.images import decode_mask
from benchbcss.data.pairing import IMAGE_ENDS, MASK_ENDS
from benchbcss.data.palettes import Palettes, palette_of
from benchbcss.data.tables import near_miss
from benchbcss.errors import DataError

#: lossy ones are read to be refused by name
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".npy", *LOSSY)
ENDS = (*MASK_ENDS, *IMAGE_ENDS, "_pred", "-pred", "_prediction", "-prediction")
DATASET_JSON = "dataset.json"
_LEVELS_UP = 2  # nnU-Net keeps dataset.json above fold_0/validation

_DEFLATE64 = 9
#: what zipfile, its decompressors and NumPy raise for damaged content
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
    *(EOFError, ValueError, RuntimeError, SyntaxError, MemoryError),
    *(ArithmeticError, AttributeError, LookupError, TypeError),
)


@dataclass(frozen=True)
class Candidate:
    """A file that may be a prediction; ``path`` is relative to the folder or archive."""

    path: PurePosixPath
    where: Any  # of the source's own

    @property
    def keys(self) -> tuple[str, str]:
        """The stem, as it is and without an ending such as _pred."""
        stem = unicodedata.normalize("NFC", self.path.stem)
        for end in ENDS:
            if stem.lower().endswith(end) and len(stem) > len(end):
                return stem, stem[: -len(end)]
        return stem, stem

    def is_of(self, roi: str) -> bool:
        """Whether it is named as ``roi``, whose name may hold its folders (PATIENT__STEM)."""
        folders = [unicodedata.normalize("NFC", part) for part in self.path.parts[:-1]]
        return any(
            "__".join([*folders[start:], key]) == roi
            for key in self.keys
            for start in range(len(folders) + 1)
        )


class Source(ABC):
    """Predictions as they were handed in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.palettes = Palettes()
        self.candidates = sorted(self._candidates(), key=lambda item: str(item.path))
        if not self.candidates:
            raise DataError(
                f"{path} holds no label map. Pass a folder or .zip of PNG, TIFF or .npy "
                f"files.{elsewhere(self._names())}"
            )

    def of(self, rois: Collection[str]) -> dict[str, list[Candidate]]:
        """The candidates of each of ``rois``."""
        stems = {roi: unicodedata.normalize("NFC", PurePosixPath(roi).stem) for roi in rois}
        by_end: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in self.candidates:
            for key in dict.fromkeys(candidate.keys):
                by_end[key].append(candidate)
        table = {}
        for roi, stem in stems.items():
            ends = ["__".join(stem.split("__")[i:]) for i in range(stem.count("__") + 1)]
            near = [candidate for end in ends for candidate in by_end.get(end, ())]
            table[roi] = [c for c in dict.fromkeys(near) if c.is_of(stem)]
        return table

    def missing(self, roi: str, taken: Collection[Candidate]) -> str:
        """That there is none, and what is nearly called so beside those ``taken`` by others."""
        free = [candidate.keys[0] for candidate in self.candidates if candidate not in taken]
        near = near_miss(PurePosixPath(roi).stem, free, 0.8)
        return f"missing; is it '{near}'?" if near else "missing"

    def values(
        self,
        candidate: Candidate,
        shape: tuple[int, int],
        colours: Mapping[Colour, int] | None,
    ) -> np.ndarray:
        """uint8 or uint16 [H, W] as stored. Raises DataError that leaves out the file's name."""
        with self._opened(candidate) as path:
            try:
                values = _decoded(path, shape, colours)
                if not colours and path.suffix.lower() != ".npy":
                    palette = palette_of(path, lambda: np.unique(values).tolist())
                    self.palettes.add(palette, str(candidate.path))
                return values
            except DataError as error:
                raise DataError(
                    str(error).replace(f"{path} ", "").replace(str(path), "it")
                ) from error

    def dataset_json(self) -> class_maps.ClassMap:
        """nnU-Net's description of its labels. Raises DataError."""
        texts = self._dataset_jsons()
        if not texts:
            raise DataError(
                f"There is no {DATASET_JSON} beside the predictions {self.path}. Copy nnU-Net's "
                f"there, or say what the values are with --labels FILE."
            )
        maps = {}
        for where, text in texts.items():
            try:
                maps[where] = class_maps.parsed(
                    class_maps.from_json(text.decode("utf-8-sig")), where
                )
            except ValueError as error:
                raise DataError(f"{where} cannot be read: {error}.") from error
        first, *others = maps.values()
        for other in others:
            if other.values != first.values:
                raise DataError(
                    f"{first.where} and {other.where} number the classes differently. Score their "
                    f"folders one by one."
                )
        if not first.values:
            raise DataError(f"{first.where} has no 'labels' that map names to values.")
        return first

    @abstractmethod
    def _candidates(self) -> Iterator[Candidate]: ...

    @abstractmethod
    def _names(self) -> Iterator[str]: ...

    @abstractmethod
    def _opened(self, candidate: Candidate) -> Any:
        """A context: a path whose file has the candidate's content and suffix."""

    @abstractmethod
    def _dataset_jsons(self) -> dict[str, bytes]: ...


class Folder(Source):
    """A folder, with whatever folders lie in it."""

    def _candidates(self) -> Iterator[Candidate]:
        for path in self._files():
            if path.suffix.lower() in SUFFIXES:
                yield Candidate(PurePosixPath(path.relative_to(self.path).as_posix()), path)

    def _names(self) -> Iterator[str]:
        return (path.name for path in self._files())

    def _files(self) -> Iterator[Path]:
        for path in everything(self.path):
            if not any(_hidden(part) for part in path.relative_to(self.path).parts):
                yield path

    @contextmanager
    def _opened(self, candidate: Candidate) -> Iterator[Path]:
        path: Path = candidate.where
        if path.is_dir():
            raise DataError("is a folder, not a label map")
        if not path.exists():
            raise DataError("is a link to a file that does not exist")
        if not path.is_file():
            raise DataError("is no regular file")
        yield path

    def _dataset_jsons(self) -> dict[str, bytes]:
        paths = sorted(p for p in self._files() if p.name == DATASET_JSON and p.is_file())
        above = Path(os.path.realpath(self.path))
        for _ in range(_LEVELS_UP):
            above = above.parent
            if not paths and (above / DATASET_JSON).is_file():
                paths = [above / DATASET_JSON]
        try:
            return {str(path): path.read_bytes() for path in paths}
        except OSError as error:
            raise DataError(f"{DATASET_JSON} cannot be read: {error.strerror}.") from error


class Archive(Source):
    """A .zip, as Windows, macOS or Linux write it."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self.scratch = scratch
        self.read_bytes = 0
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, *_BROKEN) as error:
            raise DataError(_no_zip(path, error)) from error
        super().__init__(path)

    def _candidates(self) -> Iterator[Candidate]:
        for entry, name in self._entries():
            if name.suffix.lower() in SUFFIXES:
                yield Candidate(name, entry)

    def _names(self) -> Iterator[str]:
        return (name.name for _, name in self._entries())

    def _entries(self) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
        for entry in self.zip.infolist():
            name = PurePosixPath(_readable(entry).replace("\\", "/"))
            if not entry.filename.endswith(("/", "\\")) and not any(map(_hidden, name.parts)):
                yield entry, name

    @contextmanager
    def _opened(self, candidate: Candidate) -> Iterator[Path]:
        path = self.scratch / f"entry{candidate.path.suffix.lower()}"
        try:
            self._unpack(candidate.where, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _unpack(self, entry: zipfile.ZipInfo, path: Path) -> None:
        """``entry`` into the file ``path``. Raises DataError."""
        limits = _limits()
        self.read_bytes += entry.file_size
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError("is a link, and its file is not in the archive")
        if entry.flag_bits & 1:
            raise DataError("is encrypted. Unpack the archive with its password, pass the folder")
        if entry.compress_type == _DEFLATE64:
            raise DataError(
                "is compressed as Deflate64, which Windows does with large folders and Python does "
                "not read. Unpack the archive, pass the folder"
            )
        if entry.file_size > limits["entry_bytes"] or self.read_bytes > limits["total_bytes"]:
            raise DataError(
                f"is too large unpacked ({entry.file_size:,} bytes, {self.read_bytes:,} with those "
                f"before it). Unpack the archive, pass the folder"
            )
        try:
            with self.zip.open(entry) as packed, open(path, "wb") as unpacked:
                left = entry.file_size
                while chunk := packed.read(1 << 20):
                    left -= len(chunk)
                    if left < 0:
                        raise zipfile.BadZipFile("it is larger than the archive says")
                    unpacked.write(chunk)
        except NotImplementedError as error:
            raise DataError(
                f"is compressed in a way that Python does not read ({error}). Unpack the archive, "
                f"pass the folder"
            ) from error
        except _BROKEN as error:
            raise DataError(
                f"is damaged in the archive ({error}). Pack or copy the archive again"
            ) from error
        except OSError as error:
            raise DataError(f"cannot be unpacked: {error.strerror or error}") from error

    def _dataset_jsons(self) -> dict[str, bytes]:
        texts = {}
        path = self.scratch / DATASET_JSON
        for entry, name in self._entries():
            if name.name == DATASET_JSON:
                try:
                    self._unpack(entry, path)
                except DataError as error:
                    raise DataError(f"{self.path}: {name} {error}.") from error
                texts[f"{self.path}: {name}"] = path.read_bytes()
        return texts


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The folder or .zip at ``path``. Raises DataError."""
    if path.is_dir():
        yield Folder(path)
        return
    if not path.is_file():
        raise DataError(f"{path} does not exist. Pass a folder or .zip of label maps.")
    with tempfile.TemporaryDirectory(prefix="benchbcss-score-") as scratch:
        archive = Archive(path, Path(scratch))
        with archive.zip:
            yield archive


def _no_zip(path: Path, error: Exception) -> str:
    with open(path, "rb") as handle:
        head = handle.read(4)
    if head[:2] == b"PK":
        return f"The archive {path} is damaged or cut short ({error}). Pack or copy it again."
    if path.suffix.lower() in {*PACKED} - {".zip"}:
        return f"{path} is an archive of another kind. Unpack it, and pass the folder."
    if path.suffix.lower() in SUFFIXES:
        return f"{path} is one file. Pass the folder that holds it and the other predictions."
    return f"{path} is neither a folder nor a .zip file."


def _readable(entry: zipfile.ZipInfo) -> str:
    """An entry's name; macOS writes UTF-8 without the flag that says so."""
    name = entry.orig_filename
    if not entry.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name.split("\0")[0]


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part not in (".", ".."))


@lru_cache(maxsize=1)
def _limits() -> dict[str, int]:
    text = (resources.files("benchbcss.runs.external") / "limits.yaml").read_text(encoding="utf-8")
    loaded: dict[str, int] = yaml.safe_load(text)
    return loaded


# -- values ----------------------------------------------------------------------------------------


def _decoded(
    path: Path, shape: tuple[int, int], colours: Mapping[Colour, int] | None
) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return _array(path, shape)
    _check_picture(path, shape, colours)
    return decode_mask(path, colours)


def _check_picture(
    path: Path, shape: tuple[int, int], colours: Mapping[Colour, int] | None
) -> None:
    """By its header, before anything is decoded: a small file may claim any number of pixels."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            width, height, mode = image.width, image.height, image.mode
    except Exception:
        return  # decoding says what is wrong with it
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    _check_shape((height, width), shape)
    if mode in ("RGB", "RGBA") and not colours and path.suffix.lower() not in LOSSY:
        raise DataError(
            "is in colour. Say what its colours are with --labels FILE, in lines such as "
            "'\"#ff0000\": CLASS', or save one channel of labels"
        )


def _array(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *_BROKEN) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot be read as a NumPy array ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise DataError("is an .npz, which holds several arrays. Save one array with numpy.save")
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise DataError(
            f"has the shape {array.shape}. Save one label per pixel, [H, W]: of scores per class, "
            f"the argmax"
        )
    _check_shape(array.shape, shape)
    if array.dtype.kind not in "iub":
        raise DataError(f"holds {array.dtype}. Save labels as whole numbers, such as uint8")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(
            f"has values from {low} to {high}; labels are 0..65535, and 255 is no class"
        )
    return array.astype(np.uint8 if high < 256 else np.uint16)


def _check_shape(given: tuple[int, ...], shape: tuple[int, int]) -> None:
    if tuple(given) != shape:
        raise DataError(f"is {given[1]} x {given[0]} px, its mask is {shape[1]} x {shape[0]}")
