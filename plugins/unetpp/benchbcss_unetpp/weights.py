"""Where an encoder's pretrained weights come from: the local cache, the hub, or a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, get_session, hf_hub_download
from torch import Tensor

from benchbcss.errors import RecipeError, WeightsError

PROBE_SECONDS = 3.0


def encoder_repository(encoder: str, weights: Any) -> tuple[str, str | None]:
    """(hub repository, revision) of an encoder's named weights.

    Raises RecipeError when smp or timm knows no such encoder or weights.
    """
    if encoder.startswith("tu-"):
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(encoder[3:])
        if config is None or not config.hf_hub_id:
            raise RecipeError(
                f"model.encoder: timm has no pretrained weights for '{encoder[3:]}' on the hub. "
                "Use --set model.weights=null for a random start."
            )
        return str(config.hf_hub_id), None
    settings = known_encoder(encoder)["pretrained_settings"]
    if weights not in settings:
        known = ", ".join(sorted(settings))
        raise RecipeError(
            f"model.weights: '{weights}' is not a set of {encoder}. Known: {known}, or null."
        )
    return str(settings[weights]["repo_id"]), settings[weights].get("revision")


def known_encoder(name: str) -> dict[str, Any]:
    """smp's entry for an encoder; RecipeError with near misses otherwise."""
    import difflib

    from segmentation_models_pytorch.encoders import encoders

    if name not in encoders:
        near = difflib.get_close_matches(name, encoders, n=3, cutoff=0.5)
        guess = f" Did you mean {', '.join(near)}?" if near else ""
        raise RecipeError(
            f"model.encoder: smp has no encoder '{name}'.{guess} "
            "timm's encoders are called tu-NAME."
        )
    return encoders[name]  # type: ignore[no-any-return]


def fetch(repository: str, revision: str | None = None) -> Path:
    """The repository's ``model.safetensors`` from the cache, else from the hub.

    Raises WeightsError within seconds when there is neither.
    """
    wanted: dict[str, Any] = {"filename": "model.safetensors", "revision": revision}
    try:
        return Path(hf_hub_download(repository, local_files_only=True, **wanted))
    except Exception as error:
        reason = f"not in the cache ({type(error).__name__})"
    if reachable():
        try:
            return Path(hf_hub_download(repository, **wanted))
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    else:
        reason += f", and {constants.ENDPOINT} cannot be reached"
    raise WeightsError(
        f"Pretrained weights {repository} cannot be had: {reason}. Download them where there is a "
        f"network with `hf download {repository} model.safetensors` and give the file with "
        "--weights PATH, or start from random ones with --weights none."
    )


def reachable() -> bool:
    """Whether the hub answers at all: its own client retries for half a minute before it says."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception:
        return False
    return True


def read(path: Path) -> tuple[dict[str, Tensor], str]:
    """(state dict, first 16 hex digits of the file's SHA-256); nothing is unpickled but tensors.

    Raises WeightsError naming the file.
    """
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"Weights {path} cannot be read: {error}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"Weights {path} hold a {type(state).__name__}, not a state dict.")
    return state, digest.hexdigest()[:16]
