"""Foundation encoders: any of timm or transformers, frozen, with adapters or trained in full,
under a head for classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel
from transformers.modeling_layers import GradientCheckpointingLayer

from benchbcss.errors import RecipeError, WeightsError
from benchbcss.inference.embeddings import Embeddings, identity
from benchbcss.inference.networks import TakesRgb
from benchbcss.inference.views import pad
from benchbcss.training.adapters import adapt, is_adapter, load_plain, plain_names
from benchbcss.training.dense import DenseBackend
from benchbcss.training.recompute import innermost
from benchbcss.weights import Auto, Folder, Hub, Provenance
from benchbcss.weights.loading import Layout, load_into, report
from benchbcss.weights.pretrained import encoder as pretrained_encoder
from benchbcss.weights.pretrained import has_config
from benchbcss.weights.value import short
from benchbcss_hf import heads
from benchbcss_hf.encoders import (
    ENCODERS_VERSION,
    Encoder,
    TransformersVit,
    timm_encoder,
    transformers_encoder,
)

ADAPTATIONS = ("frozen", "lora", "dora", "full")
FILES = ("model.safetensors", "pytorch_model.bin")  # what a repository's weights may be called
_INSIDE = "encoder.net."
#: where open_clip, and packages made after it, keep a timm encoder beside a text tower
TOWERS = ("visual.trunk.",)


class Foundation(TakesRgb):
    """float [B, 3, H, W] in [0, 1] -> logits float32 [B, K, H, W], for any H, W >= 1.

    The image is resized by ``scale`` first, so that the encoder sees the pixel size it was trained
    with. A frozen encoder keeps no graph and stays in evaluation mode; it sees one image at a time,
    and none twice where ``cache`` keeps what it made: of tiles that are predicted, and of training
    samples where they come again (``fixed_views``).
    """

    never_learns = False
    cache: Embeddings | None = None
    fixed_views = False

    def __init__(
        self, encoder: Encoder, head: nn.Module, scale: float, statistics: dict[str, Any]
    ) -> None:
        super().__init__(statistics["mean"], statistics["std"])
        self.encoder, self.head, self.scale = encoder, head, scale
        self.settings: dict[str, Any] = {}
        self._identified: tuple[Any, str] | None = None
        self._parts: list[nn.Module] = []  # the encoder's: listing them takes long

    def forward(self, image: Tensor) -> Tensor:
        size = image.shape[-2:]
        x = self.normalised(image)
        if self.scale != 1:
            inner = [max(1, round(side * self.scale)) for side in size]
            x = F.interpolate(x, inner, mode="bilinear", align_corners=False, antialias=True)
        height, width = x.shape[-2:]
        x = pad(x, self.encoder.multiple)
        learns = torch.is_grad_enabled() and not (self.never_learns or self.frozen)
        with torch.set_grad_enabled(learns):
            maps = self._one_by_one(x) if self.never_learns else self.encoder(x)
        logits = self.head(maps, x).float()
        logits = F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)
        logits = logits[..., :height, :width]
        if logits.shape[-2:] == size:  # the same bits, in less time
            return logits
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

    @property
    def frozen(self) -> bool:
        return not any(p.requires_grad for p in self.encoder.parameters())

    def train(self, mode: bool = True) -> Foundation:
        if self.never_learns and not self.encoder.training:
            # Every step comes here, and a walk through a large encoder costs more than a small head
            self.training = mode
            self.head.train(mode)
            return self
        super().train(mode)
        if self.frozen:
            self.encoder.eval()  # frozen are running statistics too, and no block is skipped
        return self

    def _one_by_one(self, x: Tensor) -> list[Tensor]:
        """Maps of a frozen encoder, kept ones where there are any. Each image is computed alone in
        any case: in another batch its last bits would be others."""
        if self.cache is None or (self.training and not self.fixed_views):
            parts = [self.encoder(one[None]) for one in x]
            return [torch.cat(maps) for maps in zip(*parts, strict=True)]
        return self.cache.maps(self._encoder_identity(x.device), x, self.encoder)

    def _encoder_identity(self, device: torch.device) -> str:
        """Computed again where weights were loaded since, or precision is another."""
        kind = device.type
        self._parts = self._parts or list(self.encoder.modules())
        tensors = [
            (id(tensor), tensor._version)
            for module in self._parts
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        ]
        autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        state = (device, autocast, tensors)
        if self._identified is None or self._identified[0] != state:
            self._identified = (state, identity(self.settings, self.encoder, device))
        return self._identified[1]


class FoundationBackend(DenseBackend):
    """One forward pass, one softmax per pixel."""

    made_here = ("mean", "std")

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        source = recipe["model"]["encoder"]["weights"]
        return Hub(id=source) if source else None

    def build(self) -> nn.Module:
        """The recipe's encoder, adapted as it says, under its head; the encoder's weights loaded,
        or all. Raises RecipeError, and WeightsError that says where gated weights are asked for."""
        given = self._source()
        encoder_settings = self.recipe["model"]["encoder"]
        whole = isinstance(given, Hub) or (isinstance(given, Folder) and has_config(given))
        try:
            if encoder_settings["library"] == "transformers" and whole:
                return self._by_transformers(given)
            network = self._made(self._encoder())
            load_into(network, self.context, self._layout(network))
        except WeightsError as error:
            automatic = isinstance(self.context.weights, Auto)
            if automatic and not self.context.strict_weights:
                network = self._made(self._encoder())
                note = f"random (pretrained weights {given} were not available)"
                report(network, self.context, note, ())
                return network
            raise self._with_address(error, given) from error
        self._declare()
        return network

    def summary(self, remarks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Of a frozen encoder, how many images it was asked for since the run last started, and how
        many were read: time and images per second are of both."""
        cache = self.context.embeddings
        if cache is None or self.recipe["model"]["adaptation"]["kind"] != "frozen":
            return {}
        return {"embeddings": {"computed": cache.computed, "read": cache.read}}

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``head``, and ``encoder`` (in full) or ``adapters``; nothing of a frozen encoder."""
        assert isinstance(model, Foundation)
        learning = [(n, p) for n, p in model.encoder.named_parameters() if p.requires_grad]
        name = "adapters" if learning and is_adapter(learning[0][0]) else "encoder"
        groups = {name: [p for _, p in learning], "head": list(model.head.parameters())}
        return {key: value for key, value in groups.items() if value}

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """Blocks of a ViT that learns, and those of a U-Net++ decoder."""
        assert isinstance(model, Foundation)
        net, head = model.encoder.net, model.head
        decoder = list(head.decoder.blocks.values()) if isinstance(head, heads.UnetPlusPlus) else []
        if model.frozen:
            return decoder
        return [
            *(getattr(net, "blocks", None) or innermost(net, GradientCheckpointingLayer)),
            *decoder,
        ]

    def _source(self) -> Any:
        automatic = isinstance(self.context.weights, Auto)
        return self.automatic_weights(self.recipe) if automatic else self.context.weights

    def _encoder(self) -> Encoder:
        model = self.recipe["model"]
        settings, head = model["encoder"], model["head"]
        if settings["library"] == "timm":
            return timm_encoder(settings, head["layers"], head["kind"] == "unetpp")
        if settings["library"] == "transformers":
            return transformers_encoder(settings, head["layers"])
        raise RecipeError(
            f"model.encoder.library: there is no '{settings['library']}'. Known: timm, "
            f"transformers."
        )

    def _made(self, encoder: Encoder) -> Foundation:
        model = self.recipe["model"]
        kind = model["adaptation"]["kind"]
        if kind not in ADAPTATIONS:
            known = ", ".join(ADAPTATIONS)
            raise RecipeError(f"model.adaptation.kind: there is no '{kind}'. Known: {known}.")
        if kind == "frozen":
            encoder.requires_grad_(False)
        elif kind != "full":
            adapt(encoder.net, {**model["adaptation"], "dora": kind == "dora"})
        head = heads.make(encoder, self.task.num_classes, model["head"])
        scale = self.task.mpp / model["mpp"] if model["mpp"] else 1.0
        network = Foundation(encoder, head, scale, model["normalisation"])
        network.never_learns = kind == "frozen"
        network.cache = self.context.embeddings
        network.fixed_views = bool(self.recipe["train"] and self.recipe["train"].get("views"))
        network.settings = {
            "encoder": model["encoder"],
            "layers": model["head"]["layers"],
            "kind": type(encoder).__name__,
            "taken": getattr(encoder, "taken", None),
            "version": ENCODERS_VERSION,
        }
        return network

    def _layout(self, network: Foundation) -> Layout:
        settings = self.recipe["model"]["encoder"]
        what = f"the recipe's network on {settings['name']}"
        given = f"The weights {short(self.context.weights)} are not of {what}"

        def load(state: dict[str, Tensor]) -> Any:
            encoder = network.encoder
            return load_plain(encoder.net, encoder.plain_state(state), given, extra=encoder.spare)

        return Layout(
            what=what,
            pretrained=self.automatic_weights(self.recipe),
            unpretrained="random (smoke size has no pretrained weights)",
            filename=lambda repository: FILES,
            parts={_INSIDE: load},
            towers=TOWERS,
        )

    def _by_transformers(self, given: Hub | Folder) -> Foundation:
        net, lacking = pretrained_encoder(AutoModel.from_pretrained, given)
        network = self._made(TransformersVit(net, self.recipe["model"]["head"]["layers"]))
        local = isinstance(given, Folder)
        note = f"file: {given.sha256[:16]}" if local else f"pretrained: {given}"
        inside = plain_names(network.encoder.net)
        names = [_INSIDE + name for plain, name in inside.items() if plain not in lacking]
        report(network, self.context, note, names, wrapping=f"as {_INSIDE}")
        self._declare()
        return network

    def _declare(self) -> None:
        """Whether the encoder has seen slides of TCGA, as the recipe says of its weights."""
        made, about = self.context.provenance, self.recipe["model"]["pretraining"]
        if isinstance(made, Provenance) and not made.random and self._is_the_recipes():
            made.tcga_overlap = about["tcga"]

    def _is_the_recipes(self) -> bool:
        source, weights = self.recipe["model"]["encoder"]["weights"], self.context.weights
        return isinstance(weights, Auto) or (isinstance(weights, Hub) and weights.id == source)

    def _with_address(self, error: WeightsError, given: Any) -> WeightsError:
        about = self.recipe["model"]["pretraining"]
        if not (about["gated"] and self._is_the_recipes()):
            return error
        return WeightsError(
            f"{error} They are gated under the licence {about['licence']}: ask for access at "
            f"https://huggingface.co/{given.id}, then log in with `hf auth login`."
        )
