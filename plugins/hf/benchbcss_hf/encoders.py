"""Encoders of timm and transformers as maps of features, at any image size."""

from __future__ import annotations

import sys
from typing import Any

import timm
import timm.layers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from benchbcss.errors import RecipeError

#: rises when an encoder makes other maps of the same image: kept embeddings are then made anew
ENCODERS_VERSION = 1
#: parts of timm's networks that come behind the maps, present or not
POOLED = ("head", "head_dist", "fc_norm", "attn_pool", "classifier", "fc", "pre_logits")
#: buffers that follow from the architecture, and that some files hold
DERIVED = ("num_batches_tracked", "relative_position_index", "attn_mask", "periods", "freqs_cis")


class Encoder(nn.Module):
    """``net`` from a normalised image [B, 3, H, W], both sides multiples of ``multiple``, to
    ``strides`` and ``channels``: maps [B, C, H / stride, W / stride], in the network's order.

    ``pyramid``: strides differ, the finest first; else all maps are a plain ViT's, shallow first.
    """

    net: nn.Module
    strides: list[int]
    channels: list[int]
    multiple: int
    pyramid = False

    def forward(self, image: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def plain_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A published file's tensors under the names of ``net`` without adapters."""
        return state

    def spare(self, name: str) -> bool:
        """Whether a published file's tensor of that name, which ``net`` has not, may be left out:
        no part of ``net`` makes maps with it. A layer scale, a register or a further block in a
        part that ``net`` has, or could have, means that the file is of another network."""
        first, last = name.split(".")[0], name.split(".")[-1]
        return first in POOLED or last in DERIVED or not hasattr(self.net, first)


class TimmVit(Encoder):
    """A plain ViT of timm: ``count`` of its blocks, evenly spaced, the last among them."""

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        self.net = net
        patch = int(net.patch_embed.patch_size[0])
        self.taken = _spaced(len(net.blocks), count)
        self.strides, self.channels = [patch] * count, [int(net.embed_dim)] * count
        self.multiple = patch

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net.forward_intermediates(
            image, indices=self.taken, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def plain_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """As timm itself reads it: old names changed, positions resampled."""
        change = getattr(sys.modules[type(self.net).__module__], "checkpoint_filter_fn", None)
        return dict(change(state, self.net)) if change else state


class TimmPyramid(Encoder):
    """A network of timm whose stages halve the image."""

    pyramid = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.strides = [int(stride) for stride in net.feature_info.reduction()]
        self.channels = [int(width) for width in net.feature_info.channels()]
        self.multiple = max(self.strides)

    def forward(self, image: Tensor) -> list[Tensor]:
        return list(self.net(image))


class TransformersVit(Encoder):
    """A plain ViT of transformers; its tokens before the patches' are left out."""

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        self.net = net
        config = net.config
        self.multiple = int(config.patch_size)
        self.taken = _spaced(int(config.num_hidden_layers), count)
        self.strides = [self.multiple] * count
        self.channels = [int(config.hidden_size)] * count

    def forward(self, image: Tensor) -> list[Tensor]:
        rows, columns = (side // self.multiple for side in image.shape[-2:])
        states = self.net(pixel_values=image, output_hidden_states=True)
        hidden = [states.hidden_states[index + 1] for index in self.taken[:-1]]
        tokens = [*hidden, states.last_hidden_state]  # the last one behind the final norm
        patches = [one[:, -rows * columns :].transpose(1, 2) for one in tokens]
        return [one.unflatten(2, (rows, columns)) for one in patches]


def timm_encoder(settings: dict[str, Any], count: int, pyramid: bool) -> Encoder:
    """``settings``: ``name`` of ``timm.create_model``, with ``arguments`` for a plain ViT, its MLP
    by its name in timm, and ``config`` for a network with stages. Raises RecipeError."""
    name = settings["name"]
    try:
        if pyramid:
            net = timm.create_model(name, features_only=True, **settings["config"])
        else:
            arguments = dict(settings["arguments"])
            if "mlp_layer" in arguments:
                arguments["mlp_layer"] = getattr(timm.layers, arguments["mlp_layer"])
            net = timm.create_model(name, num_classes=0, **arguments)
    except Exception as error:
        raise _unmade(settings, error) from error
    if pyramid:
        return TimmPyramid(net)
    if not all(hasattr(net, part) for part in ("forward_intermediates", "blocks", "patch_embed")):
        raise RecipeError(
            f"model.encoder: '{name}' is not a plain ViT; encoders with stages go with "
            f"model.head.kind=unetpp."
        )
    return TimmVit(net, count)


def transformers_encoder(settings: dict[str, Any], count: int) -> TransformersVit:
    """``settings``: ``name`` is transformers' model type, ``config`` its configuration.

    Raises RecipeError."""
    try:
        usual = AutoConfig.for_model(settings["name"])
        if strange := [key for key in settings["config"] if not hasattr(usual, key)]:
            raise ValueError(f"{type(usual).__name__} has no {', '.join(strange)}")
        config = AutoConfig.for_model(settings["name"], **settings["config"])
        net = AutoModel.from_config(config)
    except Exception as error:
        raise _unmade(settings, error) from error
    return TransformersVit(net, count)


def _spaced(depth: int, count: int) -> list[int]:
    """Indices of ``count`` of ``depth`` blocks, evenly spaced, the last among them."""
    if not 1 <= count <= depth:
        raise RecipeError(f"model.head.layers must be 1 to the encoder's {depth}, got {count}.")
    return [round(depth * (index + 1) / count) - 1 for index in range(count)]


def _unmade(settings: dict[str, Any], error: Exception) -> RecipeError:
    first = (str(error).splitlines() or [""])[0][:200]
    return RecipeError(
        f"model.encoder '{settings['name']}' does not make a network of {settings['library']}: "
        f"{type(error).__name__}: {first}"
    )
