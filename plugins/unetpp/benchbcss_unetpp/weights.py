"""Which hub repository holds an encoder's pretrained weights, and where they go."""

from __future__ import annotations

from typing import Any

from benchbcss.errors import RecipeError
from benchbcss.weights import Hub
from benchbcss.weights.loading import Layout
from benchbcss_unetpp.network import Normalised

ENCODER = "net.encoder."


def layout(network: Normalised | None, encoder: str, source: Hub | None) -> Layout:
    """An encoder may come alone; smp's own loader drops an ImageNet classifier."""
    return Layout(
        what=f"the recipe's UNet++ on {encoder}",
        pretrained=source,
        unpretrained="random (smoke size has no pretrained weights)",
        parts={ENCODER: None if network is None else network.net.encoder.load_state_dict},
    )


def pretrained(encoder: str, weights: Any) -> Hub | None:
    """Where an encoder's named weights are; None where the recipe names none.

    Raises RecipeError when smp or timm knows no such encoder or weights.
    """
    if not weights:
        return None
    if encoder.startswith("tu-"):
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(encoder[3:])
        if config is None or not config.hf_hub_id:
            raise RecipeError(
                f"model.encoder: timm has no pretrained weights for '{encoder[3:]}' on the hub. "
                "Use --set model.weights=null for a random start."
            )
        return Hub(id=config.hf_hub_id)
    settings = known_encoder(encoder)["pretrained_settings"]
    if weights not in settings:
        known = ", ".join(sorted(settings))
        raise RecipeError(
            f"model.weights: '{weights}' is not a set of {encoder}. Known: {known}, or null."
        )
    return Hub(id=settings[weights]["repo_id"], revision=settings[weights].get("revision"))


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
