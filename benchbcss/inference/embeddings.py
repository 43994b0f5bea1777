"""What a frozen encoder made of an image, kept on disk: a second head, another epoch or another run
need not ask it again.

An entry is named by the SHA-256 of the encoder (its code, settings, weights, and what computes it)
and of the very pixels that it is given, after every transform; so nothing has to be declared stale.
It begins with its own checksum: what is torn or altered is computed again. Entries appear whole by
a rename and never change, so runs share them without locks, and the folder can be deleted at any
time. It stays below a limit: those that no run has used for longest go first. Those that were used
since this process began stay, and when they fill it nothing more is kept: a cache that drops what
the next epoch asks for would only cost time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from benchbcss.errors import InputError
from benchbcss.inference.guard import lifted
from benchbcss.temporary import beside, sweep

#: gigabytes that entries may take; 0: none are kept
LIMIT_VARIABLE, LIMIT = "BENCHBCSS_EMBEDDINGS", 20.0
_SUFFIX = ".emb"
_CHECK = hashlib.sha256().digest_size
#: the folder is measured again after so much more of the limit, since other processes add to it too
_MEASURE_EVERY = 0.01
#: where room is made, this share of the limit is left
_ROOM = 0.9


def limit_bytes() -> int:
    """What the environment allows. Raises InputError."""
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        value = float(given or LIMIT)
        if not 0 <= value < 1e9:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{LIMIT_VARIABLE}={given} is not a number of gigabytes, such as 20, or 0 for none."
        ) from None
    return int(value * 1e9)


@dataclass
class Embeddings:
    """Entries below ``root``, at most ``limit`` bytes of them. ``read`` and ``computed`` count
    images."""

    root: Path
    limit: int = field(default_factory=limit_bytes)
    read: int = 0
    computed: int = 0

    def __post_init__(self) -> None:
        self._begun = time.time()
        self._used = -1  # bytes; unknown
        self._new = 0  # bytes since it was measured

    def maps(
        self, encoder: str, images: Tensor, compute: Callable[[Tensor], Sequence[Tensor]]
    ) -> list[Tensor]:
        """What ``compute`` makes of ``images`` [B, ...]: tensors [B, ...], by image.

        ``compute`` is called with one image [1, ...] at a time, whether or not anything is kept, so
        that the result is the same bit for bit. ``encoder`` identifies it; see ``identity``.
        """
        parts = [self._of_one(encoder, image[None], compute) for image in images]
        return [torch.cat(one) for one in zip(*parts, strict=True)]

    def _of_one(
        self, encoder: str, image: Tensor, compute: Callable[[Tensor], Sequence[Tensor]]
    ) -> list[Tensor]:
        if not self.limit:
            self.computed += 1
            return list(compute(image))
        path = self._path(encoder, image)
        with lifted():
            kept = _read(path)
        if kept is not None:
            self.read += 1
            return [tensor.to(image.device) for tensor in kept]
        made = list(compute(image))
        self.computed += 1
        with lifted():
            self._keep(path, made)
        return made

    def _path(self, encoder: str, image: Tensor) -> Path:
        pixels = image.detach().cpu().contiguous()
        content = hashlib.sha256(f"{tuple(pixels.shape)} {pixels.dtype}".encode())
        content.update(pixels.numpy().data)
        return self.root / encoder[:32] / f"{content.hexdigest()}{_SUFFIX}"

    def _keep(self, path: Path, tensors: Sequence[Tensor]) -> None:
        named = {str(i): one.detach().cpu().contiguous() for i, one in enumerate(tensors)}
        blob = save(named)
        if not self._room(len(blob) + _CHECK):
            return
        temporary = beside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as handle:
                handle.write(hashlib.sha256(blob).digest())
                handle.write(blob)
            os.replace(temporary, path)
        except OSError as error:  # a full disk must not cost a run
            if _deleted_meanwhile(error, self.root, path.parent):
                return  # the next entry makes the folder anew
            self.limit = 0
            with suppress(OSError):
                temporary.unlink()
            what = error.strerror or error
            print(f"warning: {self.root} cannot be written: {what}; no more embeddings are kept")
            return
        self._used += len(blob) + _CHECK
        self._new += len(blob) + _CHECK

    def _room(self, size: int) -> bool:
        """Whether an entry of ``size`` bytes may be added; makes room where it can."""
        if self._used < 0 or self._new > _MEASURE_EVERY * self.limit:
            self._new = 0
            self._used = sum(entry[1] for entry in self._entries())
        if self._used + size <= self.limit:
            return True
        if size > self.limit:
            return False
        entries = sorted(self._entries())
        self._used = sum(entry[1] for entry in entries)
        for used, bytes_, path in entries:
            if self._used + size <= _ROOM * self.limit or used >= self._begun:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError:  # another user's
                continue
            self._used -= bytes_
        return self._used + size <= self.limit

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(when it was last used, bytes, file) of every entry."""
        entries = []
        for folder in _listed(self.root):
            sweep(Path(folder))
            for item in _listed(folder):
                if not item.name.endswith(_SUFFIX):
                    continue
                try:
                    stat = item.stat()
                except OSError:  # another process has just removed it
                    continue
                entries.append((stat.st_mtime, stat.st_size, Path(item)))
        return entries


def _listed(folder: os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Nothing of what is no folder, or is not there any more."""
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except OSError:
        return []


def _deleted_meanwhile(error: OSError, *folders: Path) -> bool:
    """Also where ``mkdir`` found a folder that was gone when it looked again: then it says that
    one exists, as it does of a file in the folder's place."""
    if isinstance(error, FileExistsError):
        return not any(folder.is_file() for folder in folders)
    return isinstance(error, FileNotFoundError)


def _read(path: Path) -> list[Tensor] | None:
    """An entry's tensors; None where there is none, or where it is not as it was written."""
    try:
        if not path.is_file():  # a pipe would be waited for without end
            return None
        with open(path, "rb") as handle:
            checksum, blob = handle.read(_CHECK), handle.read()
        if hashlib.sha256(blob).digest() != checksum:
            path.unlink(missing_ok=True)
            return None
        os.utime(path)  # it was used
    except OSError:
        return None
    tensors = load(blob)
    return [tensors[str(index)] for index in range(len(tensors))]


def identity(settings: Mapping[str, Any], net: torch.nn.Module, device: torch.device) -> str:
    """SHA-256 of an encoder: ``settings`` (plain data) that say what it is, the content of its
    weights, and the versions and the kind of processor that compute it, on which the last bits
    depend."""
    cuda = device.type == "cuda"
    machine = (
        torch.cuda.get_device_name(device)
        if cuda
        else f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} "
        f"{torch.get_num_threads()}"
    )
    versions = {}
    for name in ("torch", "timm", "transformers"):
        if name in sys.modules:
            versions[name] = metadata.version(name)
    kind = device.type
    precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    facts = {
        "settings": settings,
        "machine": machine,
        "versions": versions,
        "precision": str(precision),
        "matmul": torch.get_float32_matmul_precision(),
    }
    content = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(net.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        content.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
        content.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()
