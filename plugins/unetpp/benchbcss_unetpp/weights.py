"""Which hub repository holds an encoder's pretrained weights."""

from __future__ import annotations

from typing import Any

from benchbcss.errors import RecipeError


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
