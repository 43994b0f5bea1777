"""Files of tensors, told apart by their content, read without unpickling code."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchbcss.errors import WeightsError
from benchbcss.io import read_json
from benchbcss.weights.value import SUFFIXES, short

_KEYS = ("state_dict", "model_state_dict")  # under which trainers keep plain tensors
#: in a folder with several files of weights, the one that is meant; the last is this harness's own
_USUAL = ("model.safetensors", "pytorch_model.bin", "final.safetensors")


def read(path: Path) -> dict[str, Any]:
    """What a file, or a folder's file or shards, holds: tensors by name, nested as they were saved.

    Numpy numbers beside tensors are accepted; nothing else is unpickled. Raises WeightsError.
    """
    files = _files(path) if path.is_dir() else [path]
    content: dict[str, Any] = {}
    for file in files:
        content |= _read_file(file)
    return content


def _files(folder: Path) -> list[Path]:
    """The files that make up a folder's weights."""
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(SUFFIXES))
    if _USUAL[0] in names:  # also beside an index of shards that were not fetched
        return [folder / _USUAL[0]]
    indices = [shards for path in sorted(folder.glob("*.index.json")) if (shards := _shards(path))]
    for shards in [*(one for one in indices if set(one) <= set(names)), *indices]:
        return [folder / name for name in shards]
    for name in _USUAL:
        if name in names:
            return [folder / name]
    if len(names) != 1:
        raise WeightsError(
            f"The folder {short(folder)} holds {len(names)} files of weights "
            f"({short(', '.join(names))}). Name one of them."
        )
    return [folder / names[0]]


def _shards(index: Path) -> list[str]:
    """The files that an index names; none where it is no such index. Raises WeightsError for files
    in other folders: what is hashed as a folder's weights lies in it."""
    try:
        names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    for name in names:
        if Path(name).name != name:
            raise WeightsError(
                f"The index {short(index)} names the file {short(name, 60)}, which is not beside "
                f"it. Put its shards into {short(index.parent)}."
            )
    return names


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightsError(f"The weights file {short(path)} does not exist.")
    with open(path, "rb") as handle:
        head = handle.read(64)
    if _is_safetensors(head):
        return _read_safetensors(path)
    if head[:2] == b"PK" and not zipfile.is_zipfile(path):
        raise _truncated(path, "its end is missing")
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _read_torch(path)
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"The weights file {short(path)} is a pointer of Git LFS, not the weights themselves. "
            f"Fetch them with: git lfs pull"
        )
    if not head:
        raise _truncated(path, "it is empty")
    raise WeightsError(
        f"The weights file {short(path)} is not a file of tensors: neither safetensors nor what "
        f"torch.save writes (it begins with {head[:12]!r})."
    )


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise _truncated(path, _first_line(error)) from error


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        with _numpy_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if "TorchScript" in text:
            raise WeightsError(
                f"The weights file {short(path)} is a TorchScript archive. Save its tensors alone: "
                f"torch.save(torch.jit.load('{path.name}').state_dict(), 'tensors.pt')"
            ) from error
        foreign = _foreign(path, text)
        if foreign:
            raise WeightsError(_beside_tensors(path, foreign)) from error
        raise _truncated(path, _first_line(error)) from error
    if not isinstance(content, dict):
        raise WeightsError(
            f"The weights file {short(path)} holds a {type(content).__name__}, no state dict."
        )
    return content


@contextmanager
def _numpy_allowed() -> Iterator[None]:
    """Numpy's numbers and arrays, as numpy 1 and 2 pickle them: they are data, not code."""
    from numpy._core import multiarray

    allowed: list[Any] = [np.ndarray, np.dtype]
    for name in ("scalar", "_reconstruct"):
        function = getattr(multiarray, name)
        allowed += [(function, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core")]
    allowed += [type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdgFDSU"]
    with torch.serialization.safe_globals(list(dict.fromkeys(allowed))):
        yield


def _foreign(path: Path, message: str) -> list[str]:
    """Pickled globals of the file that are neither tensors nor numpy's numbers."""
    try:
        with _numpy_allowed():
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # files of before 2019 are no archives
        names = []
    return names or re.findall(r"GLOBAL ([\w.]+)", message)[:1]


def _beside_tensors(path: Path, foreign: list[str]) -> str:
    shown = ", ".join(short(name, 60) for name in foreign[:3])
    more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
    name = short(path.name, 60)
    taken = "s['model'], s['state_dict'] or s.state_dict()"
    words = _words(path)
    if key := next((key for key in _KEYS if key in words), None):
        taken = f"s['{key}']"
        if "hyper_parameters" in words:  # Lightning's say what the network is
            taken = (
                f"dict(state_dict={taken}, hyper_parameters={{k: v for k, v in "
                f"s['hyper_parameters'].items() if isinstance(v, (str, int, list))}})"
            )
    return (
        f"The weights file {short(path)} holds pickled objects ({shown}{more}), and only tensors "
        f"are read: unpickling runs code. If you trust the file, save its tensors alone and pass "
        f"tensors.pt: python -c \"import torch; s = torch.load('{name}', map_location='cpu', "
        f"weights_only=False); torch.save({taken}, 'tensors.pt')\""
    )


def _words(path: Path) -> set[str]:
    """The strings in a file's pickle, which is looked through and never run."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            operations = pickletools.genops(archive.read(name))
            return {text for _, text, _ in operations if isinstance(text, str)}
    except Exception:  # files of before 2019 are no archives
        return set()


def _truncated(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"The weights file {short(path)} is truncated or damaged: {reason}. Copy it again."
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
