"""Which hub repository holds the encoder's pretrained weights, and where they go."""

from __future__ import annotations

from typing import Any

from timm.models import get_pretrained_cfg
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from benchbcss.errors import RecipeError
from benchbcss.weights import Hub
from benchbcss.weights.loading import Layout
from benchbcss_transunet.network import TransUNet

CLASSIFIER = ("head.", "fc_norm.", "pre_logits.")


def layout(network: TransUNet, source: Hub | None) -> Layout:
    """The encoder may come alone, as timm publishes it."""
    return Layout(
        what="the recipe's TransUNet",
        pretrained=source,
        unpretrained="random (smoke size has no pretrained weights)",
        parts={"vit.": lambda state: load_encoder(network.vit, state)},
    )


def load_encoder(vit: VisionTransformer, state: dict[str, Tensor]) -> Any:
    """As timm loads it: old names changed, position embeddings resampled, no classifier.

    Raises RuntimeError for tensors of another encoder.
    """
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(CLASSIFIER)}
    return vit.load_state_dict(checkpoint_filter_fn(kept, vit))


def pretrained(name: str) -> Hub:
    """Where timm's weights of that name are. Raises RecipeError where there are none."""
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise RecipeError(f"timm has no pretrained weights '{name}'. Use model.weights=null.")
    return Hub(id=config.hf_hub_id)
