"""What ``--weights`` names: one immutable value, told apart by ``kind``.

Its identity is its content, never its path: a copy elsewhere is the same run, a file or folder
whose content changed is another one.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchbcss.errors import WeightsError
from benchbcss.io import sha256

#: what files of tensors are called; how they are read is decided by their content
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
#: beside them in a folder, files that decide what the network is
CONFIGURATIONS = (".json", ".yaml", ".yml")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HELP = "Pass a file, a folder, a hub id (OWNER/NAME), 'auto' or 'none'."


class Weights(BaseModel):
    """Base of the five kinds; make one with ``Weights.parse``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str

    @staticmethod
    def parse(text: str) -> Auto | Random | File | Folder | Hub:
        """'auto', 'none', a path, or OWNER/NAME[@REVISION] on the hub. Hashes what is local.

        Raises WeightsError for what does not exist, with near names.
        """
        if text == "auto":
            return Auto()
        if text == "none":
            return Random()
        path = Path(os.path.abspath(os.path.expanduser(text)))  # links keep their names
        if os.path.isfile(path):  # pathlib's raises where a name is too long
            return File(path=str(path), sha256=_hashed(path))
        if os.path.isdir(path):
            return Folder(path=str(path), sha256=_hashed(path))
        name, at, revision = text.partition("@")
        looks_local = text.startswith((".", "~")) or text.endswith(SUFFIXES)
        if _HUB_ID.fullmatch(name) and not looks_local and (revision or not at):
            if at or not _near(path):
                return Hub(id=name, revision=revision or None)
            raise WeightsError(f"{_absent(text, path)} For the hub's, write {name}@main.")
        raise WeightsError(f"{_absent(text, path)} {_HELP}")

    @staticmethod
    def lifted(text: str, sha256: str | None) -> Auto | Random | File | Folder | Hub:
        """From the text and hash that specifications of the first edition hold."""
        if text in ("auto", "none"):
            return Auto() if text == "auto" else Random()
        if sha256 is not None:
            return File(path=os.path.abspath(text), sha256=sha256)
        if _HUB_ID.fullmatch(text) and not Path(text).exists():
            return Hub(id=text)
        return Folder(path=os.path.abspath(text), sha256="not recorded")

    def identity(self) -> dict[str, Any]:
        """What makes two weights the same, for fingerprints: content or hub id, not the path."""
        return self.model_dump(mode="json", exclude={"path"})

    @property
    def digest(self) -> str | None:
        """SHA-256 of local content, or None."""
        return None


class Auto(Weights):
    """The backend's own pretrained weights."""

    kind: Literal["auto"] = "auto"

    def __str__(self) -> str:
        return "auto"


class Random(Weights):
    """A random start."""

    kind: Literal["random"] = "random"

    def __str__(self) -> str:
        return "none"


class _Local(Weights):
    path: str
    sha256: str

    @property
    def digest(self) -> str:
        return self.sha256

    def __str__(self) -> str:
        return self.path

    def verified(self) -> Path:
        """The path. Raises WeightsError where the content is no longer what was planned."""
        path = Path(self.path)
        if not path.exists():
            raise WeightsError(f"The weights {short(self.path)} do not exist any more.")
        if _hashed(path) != self.sha256:
            raise WeightsError(
                f"The weights {short(self.path)} have changed since the run was planned. "
                f"Run the same command again."
            )
        return path


class File(_Local):
    """A file of tensors, at an absolute path."""

    kind: Literal["file"] = "file"


class Folder(_Local):
    """A folder of weights and configurations, at an absolute path."""

    kind: Literal["folder"] = "folder"


class Hub(Weights):
    """A repository of the Hugging Face hub."""

    kind: Literal["hub"] = "hub"
    id: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"


#: the field type of pydantic models
AnyWeights = Annotated[Auto | Random | File | Folder | Hub, Field(discriminator="kind")]


def short(text: object, limit: int = 120) -> str:
    """A path or key for a message: its end, where it is long."""
    whole = str(text)
    return whole if len(whole) <= limit else "..." + whole[3 - limit :]


def digest(path: Path) -> str:
    """First 16 hex digits of the hash of a file or a folder, as records show it."""
    return _hashed(path)[:16]


def _hashed(path: Path) -> str:
    """Of a file, its SHA-256; of a folder, that of its weights' and configurations' names and
    contents. Raises WeightsError for what cannot be read and for a folder without weights."""
    try:
        if path.is_file():
            return sha256(path)
        names = sorted(
            file.name
            for file in path.iterdir()
            if file.name.endswith((*SUFFIXES, *CONFIGURATIONS)) and file.is_file()
        )
        if not any(name.endswith(SUFFIXES) for name in names):
            raise WeightsError(_no_weights_in(path))
        total = hashlib.sha256()
        for name in names:
            total.update(f"{name}\0{sha256(path / name)}\n".encode())
        return total.hexdigest()
    except OSError as error:
        raise WeightsError(
            f"The weights {short(path)} cannot be read: {error.strerror}."
        ) from error


def _no_weights_in(folder: Path) -> str:
    inside = [f"{file.parent.name}/" for suffix in SUFFIXES for file in folder.glob(f"*/*{suffix}")]
    hint = f" Did you mean its {', '.join(sorted(set(inside))[:3])}?" if inside else ""
    return f"The folder {short(folder)} holds no weights ({', '.join(SUFFIXES)}).{hint}"


def _absent(text: str, path: Path) -> str:
    """That it does not exist, and what is nearly called so."""
    if not os.path.isdir(path.parent):
        return (
            f"The weights file {short(text)} does not exist: there is no folder "
            f"{short(path.parent)}."
        )
    near = _near(path)
    guess = f" Did you mean {' or '.join(short(name, 60) for name in near)}?" if near else ""
    return f"The weights file {short(text)} does not exist.{guess}"


def _near(path: Path) -> list[str]:
    """Up to three weights files or folders beside it of nearly that name."""
    try:
        names = [
            sibling.name
            for sibling in path.parent.iterdir()
            if sibling.is_dir() or sibling.suffix in SUFFIXES
        ]
    except OSError:
        return []
    return difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
