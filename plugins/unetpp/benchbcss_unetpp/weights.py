"""Which hub repository holds an encoder's pretrained weights, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbcss.errors import RecipeError, WeightsError
from benchbcss.io import read_json
from benchbcss.weights import File, Folder, Hub
from benchbcss.weights.loading import Layout
from benchbcss.weights.reading import read
from benchbcss.weights.value import short
from benchbcss.weights.wrappings import state_dicts
from benchbcss_unetpp.network import Normalised

ENCODER = "net.encoder."
HEAD = "segmentation_head.0.weight"  # smp's name of the last layer, [classes, width, 3, 3]
#: what smp's class is called, and what trainers' hyper-parameters call it
_ARCHITECTURES = ("unetplusplus", "unet++")
_SETTINGS = ("encoder_depth", "decoder_use_norm", "decoder_attention_type", "decoder_interpolation")


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


def described(
    weights: File | Folder, classes: int, class_map: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a checkpoint says of its network, as smp's arguments: from the ``config.json`` of
    ``save_pretrained``, from the hyper-parameters that Lightning keeps, and from its shapes.

    Raises WeightsError for another architecture or number of channels, and, without a
    ``class_map``, for another number of classes.
    """
    where = short(weights.path)
    config = Path(weights.path) / "config.json"
    if isinstance(weights, Folder) and config.is_file():
        try:
            said: Any = read_json(config)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{config} cannot be read: {error}.") from error
        content: Mapping[str, Any] = {}
    else:
        content = read(weights.verified())
        said = content.get("hyper_parameters")
    said = said if isinstance(said, dict) else {}
    kind = said.get("_model_class") or said.get("arch") or said.get("architecture")
    if isinstance(kind, str) and kind.lower() not in _ARCHITECTURES:
        raise WeightsError(f"The weights {where} are of a {kind}, not of a UNet++ (UnetPlusPlus).")
    count = next((said[k] for k in ("classes", "out_classes", "num_classes") if k in said), None)
    for _, state in state_dicts(content):
        heads = [tensor for name, tensor in state.items() if name.endswith(HEAD)]
        count = heads[0].shape[0] if heads else count
    if isinstance(count, int) and count != classes and not class_map:
        raise WeightsError(
            f"The weights {where} are of {count} classes, and the suite has {classes}. Say which "
            f"are which with --set model.class_map=FILE, in lines such as '0: CLASS', or use a "
            f"suite of the checkpoint's classes (--suite FILE)."
        )
    if said.get("in_channels", 3) != 3:
        raise WeightsError(f"The weights {where} take {said['in_channels']} channels, not RGB.")
    settings = {key: said[key] for key in _SETTINGS if said.get(key) is not None}
    if isinstance(count, int):
        settings["classes"] = int(count)
    if isinstance(said.get("encoder_name"), str):
        settings["encoder_name"] = said["encoder_name"]
    if isinstance(said.get("decoder_channels"), list | tuple):
        settings["decoder_channels"] = [int(width) for width in said["decoder_channels"]]
    elif widths := _widths(content):
        settings["decoder_channels"] = widths
    return settings


def statistics(weights: File | Folder) -> dict[str, list[float]] | None:
    """Mean and std of RGB in [0, 1] that a module around the network holds as buffers, as smp's
    example for Lightning registers them; None where it holds none."""
    if isinstance(weights, Folder):
        return None
    for _, state in state_dicts(read(weights.verified())):
        plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        named = [plain.get(name) for name in ("mean", "std")]
        if any(name.endswith(HEAD) for name in plain) and all(
            tensor is not None and tensor.numel() == 3 for tensor in named
        ):
            mean, std = ([float(v) for v in t.reshape(-1)] for t in named if t is not None)
            unit = 255.0 if max(mean) > 1 else 1.0
            return {"mean": [v / unit for v in mean], "std": [v / unit for v in std]}
    return None


def _widths(content: Mapping[str, Any]) -> list[int]:
    """Decoder widths by the shapes of its last blocks; empty where there is no such decoder."""
    for _, state in state_dicts(content):
        widths: dict[int, int] = {}
        for name, tensor in state.items():
            _, mark, rest = name.partition("decoder.blocks.x_")
            if mark and rest.endswith("conv2.0.weight"):
                row, column = rest.split(".")[0].split("_")
                if row == "0":
                    widths[int(column)] = tensor.shape[0]
        if widths:
            return [widths[column] for column in sorted(widths)]
    return []
