"""Builds the transformers network: from the hub or a folder, or at random from the recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from benchbcss.errors import RecipeError, WeightsError
from benchbcss.weights import missing, reachable


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
    raise missing(source, reason, f"hf download {source} --local-dir DIR")


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
