"""Builds the transformers network: from the hub or a folder, or at random from the recipe."""

from __future__ import annotations

from typing import Any

from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from benchbcss.errors import RecipeError
from benchbcss.weights import Folder, Hub
from benchbcss.weights.loading import Layout
from benchbcss.weights.pretrained import from_pretrained, with_absent

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


def names_of(given: Hub | Folder) -> dict[int, str]:
    """The classes of a hub repository's or folder's network, by output. Raises WeightsError."""
    config = from_pretrained(Mask2FormerConfig.from_pretrained, given)
    return {int(index): str(name) for index, name in config.id2label.items()}


def pretrained_network(
    given: Hub | Folder, num_classes: int | None
) -> tuple[Mask2FormerForUniversalSegmentation, set[str]]:
    """A hub repository or a folder of ``save_pretrained``, and the names of what it lacks: a class
    head of other than ``num_classes`` is made anew; None keeps the head that there is.

    The cache is asked first; raises WeightsError within seconds when nothing can be had.
    """
    options = {} if num_classes is None else {"num_labels": num_classes}
    return with_absent(Mask2FormerForUniversalSegmentation.from_pretrained, given, **options)
