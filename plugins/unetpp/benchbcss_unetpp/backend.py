"""UNet++ (Zhou et al. 2018) with a pretrained encoder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from benchbcss.data.class_maps import groups
from benchbcss.errors import DataError, RecipeError, WeightsError
from benchbcss.training.dense import DenseBackend
from benchbcss.training.recompute import innermost
from benchbcss.weights import Auto, File, Folder, Hub
from benchbcss.weights.hub import commit_of
from benchbcss.weights.loading import load_into, located, report
from benchbcss.weights.reading import read
from benchbcss.weights.value import short
from benchbcss_unetpp import weights as stored
from benchbcss_unetpp.network import Normalised


class UNetPP(DenseBackend):
    """Dense semantic segmentation: one forward pass, one softmax per pixel."""

    made_here = ("mean", "std")

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        return stored.pretrained(recipe["model"]["encoder"], recipe["model"]["weights"])

    def build(self) -> nn.Module:
        """UNet++ for the task's classes, weights loaded: the encoder's, or all.

        Raises RecipeError for an encoder that smp or timm cannot give, WeightsError for weights
        that are asked for and missing or of another network.
        """
        model = self.recipe["model"]
        automatic = isinstance(self.context.weights, Auto)
        source = self.automatic_weights(self.recipe) if automatic else None
        if model["encoder"].startswith("tu-") and isinstance(self.context.weights, Auto | Hub):
            return self._by_timm(source)
        said: dict[str, Any] = {}
        statistics = None
        if isinstance(self.context.weights, File | Folder):
            weights, class_map = self.context.weights, model["class_map"]
            said = stored.described(weights, self.task.num_classes, class_map)
            statistics = stored.statistics(weights)
        network = self._wrap(self._make(model, **said), statistics)
        network.groups = self._groups(said.get("classes", self.task.num_classes))
        encoder = said.get("encoder_name", model["encoder"])
        state = torch.get_rng_state()
        try:
            load_into(network, self.context, stored.layout(network, encoder, source))
        except WeightsError:
            published = self._published(encoder)
            if not published:
                raise
            torch.set_rng_state(state)
            note = f"file: {str(self.context.weights.digest)[:16]}"
            return self._read_by_timm(model, {"state_dict": published}, note)
        return network

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder`` (pretrained) and ``decoder`` (decoder and head)."""
        assert isinstance(model, Normalised)
        encoder = [p for n, p in model.net.named_parameters() if n.startswith("encoder.")]
        decoder = [p for n, p in model.net.named_parameters() if not n.startswith("encoder.")]
        return {"encoder": encoder, "decoder": decoder}

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """The decoder's blocks, and residual blocks of a ResNet."""
        assert isinstance(model, Normalised)
        return [
            *innermost(model.net.encoder, (BasicBlock, Bottleneck)),
            *model.net.decoder.blocks.values(),
        ]

    def _groups(self, outputs: int) -> tuple[tuple[int, ...], ...] | None:
        """Which outputs stand for each class, by the recipe's class map; None: in their order."""
        class_map = self.recipe["model"]["class_map"]
        if not class_map:
            return None
        names = {index: f"output {index}" for index in range(outputs)}
        task = self.task
        try:
            return groups(names, task.class_names, task.mean_classes, class_map, "the UNet++")
        except DataError as error:
            raise WeightsError(str(error)) from error

    def _wrap(
        self, net: smp.UnetPlusPlus, statistics: dict[str, list[float]] | None = None
    ) -> Normalised:
        statistics = statistics or self.recipe["model"]["normalisation"]
        return Normalised(net, statistics["mean"], statistics["std"])

    def _make(self, model: dict[str, Any], **said: Any) -> smp.UnetPlusPlus:
        """The recipe's UNet++; what ``said`` holds, by smp's names, comes before the recipe."""
        name = said.get("encoder_name", model["encoder"])
        if not name.startswith("tu-"):
            stored.known_encoder(name)
        channels = list(said.get("decoder_channels", model["decoder_channels"]))
        if not 3 <= len(channels) <= 5:
            raise RecipeError(f"model.decoder_channels needs 3 to 5 widths, got {channels}")
        settings = {
            "encoder_weights": None,
            "classes": self.task.num_classes,
            **said,
            "encoder_name": name,
            "encoder_depth": len(channels),
            "decoder_channels": channels,
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return smp.UnetPlusPlus(**settings)
        except WeightsError:
            raise
        except Exception as error:
            raise RecipeError(
                f"model.encoder '{name}' does not make a UNet++: {error}. UNet++ needs an encoder "
                "with a stage at every halving, such as resnet34 or tu-resnet50."
            ) from error

    def _by_timm(self, source: Hub | None) -> Normalised:
        """timm renames old checkpoints' keys itself, so it loads its encoders from the hub."""
        model = self.recipe["model"]
        path, note = located(self.context, stored.layout(None, model["encoder"], source))
        if path is None:
            network = self._wrap(self._make(model))
            report(network, self.context, note, ())
            return network
        return self._read_by_timm(model, {"file": str(path)}, note)

    def _published(self, encoder: str) -> dict[str, torch.Tensor]:
        """The tensors of a local file that timm may read: they have names of its own, and nothing
        but the encoder. Empty for other weights, and for encoders of smp."""
        weights = self.context.weights
        if not encoder.startswith("tu-") or not isinstance(weights, File | Folder):
            return {}
        content = read(Path(weights.path))
        tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
        return {} if any("decoder." in name for name in tensors) else tensors

    def _read_by_timm(
        self, model: dict[str, Any], overlay: dict[str, Any], note: str
    ) -> Normalised:
        """With the encoder that timm publishes, in a hub's file or another's. timm passes over what
        a file lacks, so it is read into two random starts, and both must become the same.

        Raises WeightsError.
        """
        encoder = model["encoder"].removeprefix("tu-")
        named = short(note if isinstance(self.context.weights, Auto) else self.context.weights)
        given = f"The weights {named} are not those of timm's {encoder}"
        options = {"encoder_weights": True, "pretrained_cfg_overlay": overlay}
        try:
            network = self._wrap(self._make(model, **options))
        except RecipeError as error:
            raise WeightsError(f"{given}: {error.__cause__}.") from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed() + 1)
            other = self._wrap(self._make(model, **options)).state_dict()
        names = [name for name in network.state_dict() if name.startswith(stored.ENCODER)]
        held = network.state_dict()
        random = [name for name in names if not torch.equal(held[name], other[name])]
        if random:
            raise WeightsError(
                f"{given}: {len(random)} of its tensors are not among them, such as "
                f"{random[0].removeprefix(stored.ENCODER)}."
            )
        file = overlay.get("file")
        report(
            *(network, self.context, note, names),
            wrapping="" if file else "of timm",
            revision=commit_of(Path(file)) if file else "",
        )
        return network
