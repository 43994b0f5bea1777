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
from benchbcss.weights import Folder, Hub, missing, reachable
from benchbcss.weights.loading import Layout
from benchbcss.weights.value import short

#: tensors alone, for the recipe's sizes; upstream's loss is not used here
LAYOUT = Layout(
    what="the recipe's Mask2Former",
    unpretrained="random (smoke size has no pretrained weights)",
    ignored=("criterion.",),
)


def pretrained(model: dict[str, Any]) -> Hub | None:
    """Where the variant's weights are; None where the recipe names none."""
    source = variant(model)["weights"]
    return Hub(id=source) if source else None


def has_config(folder: Folder) -> bool:
    """Whether ``save_pretrained`` wrote it, so that it brings its architecture."""
    return (Path(folder.path) / "config.json").is_file()


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


def pretrained_network(
    given: Hub | Folder, num_classes: int
) -> tuple[Mask2FormerForUniversalSegmentation, set[str]]:
    """A hub repository or a folder of ``save_pretrained``, and the names of what it lacks: a class
    head of other classes is made anew.

    The cache is asked first; raises WeightsError within seconds when nothing can be had.
    """
    folder = isinstance(given, Folder)
    source = str(given.verified()) if folder else given.id
    wanted: dict[str, Any] = {
        "num_labels": num_classes,
        "ignore_mismatched_sizes": True,
        "output_loading_info": True,
        "revision": "main" if folder else given.revision or "main",
    }
    reason = ""
    with _quiet():
        for local in (True, False):
            if not local and not reachable():
                reason += f", and {constants.ENDPOINT} cannot be reached"
                break
            try:
                network, found = Mask2FormerForUniversalSegmentation.from_pretrained(
                    source, local_files_only=local, **wanted
                )
                mismatched = {name for name, *_ in found["mismatched_keys"]}
                return network, set(found["missing_keys"]) | mismatched
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                if folder:
                    raise WeightsError(
                        f"Weights {short(source)} cannot be read: {reason[:200]}"
                    ) from error
    raise missing(str(given), reason, f"hf download {source} --local-dir DIR")


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
