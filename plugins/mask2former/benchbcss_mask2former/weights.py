"""Builds the transformers network: from the hub or a folder, or at random from the recipe."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, get_session
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from benchbcss.errors import RecipeError, WeightsError

PROBE_SECONDS = 3.0


def variant(model: dict[str, Any]) -> dict[str, Any]:
    """The chosen entry of the recipe's variants: ``weights`` and ``swin``."""
    variants = model["variants"]
    if model["variant"] not in variants:
        known = ", ".join(variants)
        raise RecipeError(f"model.variant: there is no '{model['variant']}'. Known: {known}.")
    return variants[model["variant"]]  # type: ignore[no-any-return]


def random_network(model: dict[str, Any], num_classes: int) -> Mask2FormerForUniversalSegmentation:
    """The recipe's architecture with random weights."""
    swin = SwinConfig(
        **variant(model)["swin"],
        drop_path_rate=model["drop_path"],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        hidden_dim=model["hidden_dim"],
        feature_size=model["feature_dim"],
        mask_feature_size=model["mask_dim"],
        num_attention_heads=model["heads"],
        num_queries=model["queries"],
        encoder_layers=model["encoder_layers"],
        decoder_layers=model["decoder_layers"],
        encoder_feedforward_dim=model["encoder_feedforward"],
        dim_feedforward=model["decoder_feedforward"],
        num_labels=num_classes,
    )
    return Mask2FormerForUniversalSegmentation(config)


def pretrained_network(source: str, num_classes: int) -> Mask2FormerForUniversalSegmentation:
    """A hub repository or a folder of ``save_pretrained``; its class head is made anew.

    The cache is asked first; raises WeightsError within seconds when nothing can be had.
    """
    wanted: dict[str, Any] = {"num_labels": num_classes, "ignore_mismatched_sizes": True}
    reason = ""
    with _quiet():
        for local in (True, False):
            if not local and not reachable():
                reason += f", and {constants.ENDPOINT} cannot be reached"
                break
            try:
                return Mask2FormerForUniversalSegmentation.from_pretrained(
                    source, local_files_only=local, **wanted
                )
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                if Path(source).is_dir():
                    raise WeightsError(f"Weights {source} cannot be read: {reason}") from error
    raise WeightsError(
        f"Pretrained weights {source} cannot be had: {reason}. Download them where there is a "
        f"network with `hf download {source} --local-dir DIR` and give the folder with "
        "--weights DIR, or start from random ones with --weights none."
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


def read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; nothing is unpickled but tensors. WeightsError names the file."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"Weights {path} cannot be read: {error}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"Weights {path} hold a {type(state).__name__}, not a state dict.")
    return state


def digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file, or of a folder's weight files in order."""
    names = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")]) if path.is_dir() else [path]
    total = hashlib.sha256()
    for name in names:
        with open(name, "rb") as handle:
            while chunk := handle.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()[:16]


@contextmanager
def _quiet() -> Iterator[None]:
    """The new class head is intended: transformers' table of mismatched shapes is noise here."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
