"""Pretrained weights: files read without unpickling code, hub files from the cache or the hub.

Shared by all plugins. Errors come within seconds: the hub's own client retries for half a minute
before it says that there is no network.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from benchbcss.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

PROBE_SECONDS = 3.0
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def is_hub_id(text: str) -> bool:
    """OWNER/NAME, and not something that looks like a file."""
    owner, slash, name = text.partition("/")
    plain = bool(slash and owner.strip(".") and name) and "/" not in name
    return plain and not text.endswith(SUFFIXES) and not Path(text).exists()


def reachable() -> bool:
    """Whether the hub answers at all."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception:
        return False
    return True


def missing(source: str, reason: str, download: str) -> WeightsError:
    """The error for weights that cannot be had; ``download`` is the command that would get them."""
    return WeightsError(
        f"Pretrained weights {source} cannot be had: {reason}. Download them where there is a "
        f"network with `{download}` and give them with --weights PATH, or start from random ones "
        f"with --weights none."
    )


def fetch(repository: str, filename: str, revision: str | None = None) -> Path:
    """A file of a hub repository, from the local cache or the hub. Raises WeightsError."""
    from huggingface_hub import constants, hf_hub_download

    try:
        return Path(hf_hub_download(repository, filename, revision=revision, local_files_only=True))
    except Exception as error:
        reason = f"not in the cache ({type(error).__name__})"
    if reachable():
        try:
            return Path(hf_hub_download(repository, filename, revision=revision))
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    else:
        reason += f", and {constants.ENDPOINT} cannot be reached"
    raise missing(repository, reason, f"hf download {repository} {filename}")


def read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; nothing is unpickled but tensors. Raises WeightsError.

    A file that holds its state dict under 'model' or 'state_dict' is unwrapped.
    """
    import torch

    if not path.is_file():
        raise WeightsError(f"The weights file {path} does not exist.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return own_checkpoint(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise WeightsError(
            f"The weights file {path} cannot be read: it is truncated, or not a file of tensors "
            f"({type(error).__name__}: {first})."
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise WeightsError(f"The weights file {path} holds no state dict.")
    return state


def own_checkpoint(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of this harness without its prefix and optimiser; others as they are."""
    mine = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    others = [k for k in state if not k.startswith(("model.", "optimizer.", "average."))]
    return mine if mine and not others else state


def fits(state: dict[str, Tensor], expected: dict[str, Tensor], source: str, what: str) -> None:
    """Raise WeightsError unless ``state`` has the keys and shapes of ``expected``."""
    lacking = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    shapes = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if not (lacking or extra or shapes):
        return
    parts = []
    if shapes:
        key = shapes[0]
        parts.append(
            f"{len(shapes)} tensor(s) of another shape, such as {key} "
            f"{tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        )
    if lacking:
        parts.append(f"{len(lacking)} missing, such as {lacking[0]}")
    if extra:
        parts.append(f"{len(extra)} unknown, such as {extra[0]}")
    raise WeightsError(f"The weights {source} are not of {what}: {'; '.join(parts)}.")


def digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file, or of a folder's weight files in order."""
    names = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")]) if path.is_dir() else [path]
    total = hashlib.sha256()
    for name in names:
        with open(name, "rb") as handle:
            while chunk := handle.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()[:16]
