"""Builds EoMT: trained as such, on a DINOv2 or DINOv3 backbone, or at random from the recipe."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModel, EomtConfig, EomtDinov3Config

from benchbcss.errors import RecipeError, WeightsError
from benchbcss.weights import Folder, Hub
from benchbcss.weights.hub import COMMIT
from benchbcss.weights.loading import Layout
from benchbcss.weights.pretrained import encoder, from_pretrained, with_absent
from benchbcss.weights.value import short
from benchbcss_mask2former.eomt_network import MASKED, EomtOnDinov2, EomtOnDinov3
from benchbcss_mask2former.weights import variant

#: tensors alone, for the recipe's sizes; upstream's loss and its probabilities are not used here
LAYOUT = Layout(
    what="the recipe's EoMT",
    unpretrained="random (smoke size has no pretrained weights)",
    ignored=("criterion.", MASKED),
)
BACKBONE = ("net.embeddings.", "net.layers.", "net.layernorm.")
PATCH = 16  # EoMT's, whatever its backbone was trained with
_NETWORKS = {
    "eomt": (EomtConfig, EomtOnDinov2),
    "eomt_dinov3": (EomtDinov3Config, EomtOnDinov3),
}
_ON = {"dinov2_with_registers": "eomt", "dinov3_vit": "eomt_dinov3"}
#: what a backbone's configuration says and EoMT's calls the same
_SHARED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "layerscale_value",
    "num_register_tokens",
    "mlp_ratio",
    "use_swiglu_ffn",
    "intermediate_size",
    "query_bias",
    "key_bias",
    "value_bias",
    "proj_bias",
    "mlp_bias",
    "use_gated_mlp",
    "pos_embed_shift",
    "pos_embed_jitter",
    "pos_embed_rescale",
)
_PROJECTION = "embeddings.patch_embeddings.projection.weight"
_RENAMED = (
    ("encoder.layer.", "layers."),
    ("model.layer.", "layers."),
    ("layer.", "layers."),
    ("norm.", "layernorm."),
)


def random_network(model: dict[str, Any], classes: int) -> EomtOnDinov2 | EomtOnDinov3:
    """The recipe's variant with random weights. Raises RecipeError for an unknown one."""
    sizes = dict(variant(model)["config"])
    kind = sizes.pop("model_type", None)
    if kind not in _NETWORKS:
        raise RecipeError(
            f"model.variants: a config's model_type is one of {', '.join(_NETWORKS)}, got {kind}."
        )
    return _made(kind, sizes, model, classes)


def names_of(given: Hub | Folder) -> dict[int, str]:
    """The classes of a hub repository's or folder's EoMT, by output. Raises WeightsError for
    anything else, a backbone included: it cannot be scored."""
    config = _config(given)
    if config.model_type not in _NETWORKS:
        raise WeightsError(
            f"The weights {short(given)} are of a backbone alone ({config.model_type}), which "
            f"cannot be evaluated. Train from them: benchbcss run eomt."
        )
    return {int(index): str(name) for index, name in config.id2label.items()}


def pretrained_network(
    given: Hub | Folder, classes: int | None, model: dict[str, Any]
) -> tuple[EomtOnDinov2 | EomtOnDinov3, set[str]]:
    """A hub repository or a folder of ``save_pretrained``, and the names of what it lacks: of a
    backbone all but the ViT, of an EoMT a head of other than ``classes``, which are made anew.

    ``classes`` None keeps the head that there is. Raises WeightsError.
    """
    kind = _config(given).model_type
    if kind in _NETWORKS:
        options = {} if classes is None else {"num_labels": classes}
        return with_absent(_NETWORKS[kind][1].from_pretrained, given, **options)
    assert classes is not None, "a backbone has no head"
    backbone, _ = encoder(AutoModel.from_pretrained, given)
    settings = backbone.config.to_dict()
    sizes = {key: settings[key] for key in _SHARED if key in settings}
    state = dict(backbone.state_dict())
    if kind == "dinov3_vit":
        theta = settings.get("rope_theta") or settings["rope_parameters"]["rope_theta"]
        sizes["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    else:
        state = _prefix_positions(state)
        side = round(len(state["embeddings.position_embeddings.weight"]) ** 0.5)
        sizes["image_size"] = side * PATCH
    net = _made(_ON[kind], sizes, model, classes)
    wanted = net.state_dict()
    loaded = {_renamed(name, wanted): tensor for name, tensor in state.items()}
    loaded = {name: tensor for name, tensor in loaded.items() if name in wanted}
    if _PROJECTION in loaded:
        loaded[_PROJECTION] = resampled_patches(loaded[_PROJECTION], PATCH)
    lacking = set(wanted) - set(loaded)
    if any(f"net.{name}".startswith(BACKBONE) for name in lacking):
        raise WeightsError(f"The weights {short(given)} lack {sorted(lacking)[0]} of EoMT's ViT.")
    net.load_state_dict(loaded, strict=False)
    setattr(net, COMMIT, getattr(backbone, COMMIT, ""))  # for the record
    return net, lacking


def _config(given: Hub | Folder) -> Any:
    config = from_pretrained(AutoConfig.from_pretrained, given)
    if config.model_type not in (*_NETWORKS, *_ON):
        raise WeightsError(
            f"The weights {short(given)} are of a {config.model_type}; EoMT takes its own, and "
            f"backbones of {', '.join(_ON)}."
        )
    return config


def _made(
    kind: str, sizes: dict[str, Any], model: dict[str, Any], classes: int
) -> EomtOnDinov2 | EomtOnDinov3:
    config, network = _NETWORKS[kind]
    common = {"patch_size": PATCH, "num_labels": classes, "num_queries": model["queries"]}
    try:
        made: EomtOnDinov2 | EomtOnDinov3 = network(
            config(num_blocks=variant(model)["blocks"], **{**common, **sizes})
        )
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise RecipeError(
            f"model.variants.{model['variant']} does not make an EoMT: "
            f"{type(error).__name__}: {first}"
        ) from error
    return made


def _prefix_positions(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """EoMT gives positions to patches alone, so the class token's is added to the token itself."""
    positions = state.pop("embeddings.position_embeddings")[0]
    state["embeddings.cls_token"] = state["embeddings.cls_token"] + positions[0]
    state["embeddings.position_embeddings.weight"] = positions[1:]
    return state


def _renamed(name: str, wanted: dict[str, Tensor]) -> str:
    for before, after in _RENAMED:
        if name.startswith(before):
            name = after + name.removeprefix(before)
            break
    if name not in wanted:
        name = name.replace("attention.o_proj.", "attention.out_proj.")
    return name


def resampled_patches(weight: Tensor, size: int) -> Tensor:
    """A patch embedding [D, C, p, p] for patches of ``size``: that which gives resized patches the
    embedding of the original ones, by the pseudo-inverse (Beyer et al. 2023, FlexiViT)."""
    side = weight.shape[-1]
    if side == size:
        return weight
    basis = torch.eye(side * side).reshape(-1, 1, side, side)
    resize = F.interpolate(basis, (size, size), mode="bilinear", align_corners=False)
    inverse = torch.linalg.pinv(resize.flatten(1))  # [size^2, side^2]
    flat = weight.float().flatten(2) @ inverse.T
    return flat.unflatten(2, (size, size)).to(weight.dtype)
