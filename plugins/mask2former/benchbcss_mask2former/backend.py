"""Mask2Former (Cheng et al. 2022) for semantic segmentation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderLayer as PixelDecoderLayer,
)

from benchbcss.contract import Backend, Batch
from benchbcss.data.class_maps import groups
from benchbcss.errors import DataError, WeightsError
from benchbcss.inference.views import pad
from benchbcss.training.recompute import innermost
from benchbcss.weights import Folder, Hub
from benchbcss.weights.loading import load_into, report
from benchbcss.weights.pretrained import of_repository
from benchbcss.weights.value import short
from benchbcss_mask2former import weights as stored
from benchbcss_mask2former.criterion import Queries, SetLoss
from benchbcss_mask2former.network import QueryNetwork, SemanticMask2Former, pad_target


class Mask2Former(Backend):
    """A set of queries, each a class and a mask; their sum is the label map."""

    made_here = ("mean", "std")
    layout = stored.LAYOUT  # of files of tensors alone

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        return stored.pretrained(recipe["model"])

    def build(self) -> nn.Module:
        """The network with a head for the task's classes, weights loaded.

        A hub repository or a folder of ``save_pretrained`` brings its own architecture; tensors
        alone are for the recipe's. Raises RecipeError for an unknown variant, WeightsError for
        weights that are asked for and missing or of another network.
        """
        context = self.context
        automatic = self.automatic_weights(self.recipe)
        network, note = of_repository(context, automatic, self._by_transformers)
        if network is not None:
            return network
        network = self._random()
        if note:
            report(network, context, note, ())
        else:
            load_into(network, context, self.layout)
        return network

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Class, mask and Dice terms of every layer that predicts, at known pixels only."""
        assert isinstance(model, QueryNetwork)
        ignore = self.task.ignore_index
        criterion = SetLoss(self.task.num_classes, **self.recipe["loss"], ignore_index=ignore)
        layers = self._layers(model, pad(batch.image, model.stride), batch.progress)
        return criterion(layers, pad_target(batch.target, ignore, model.stride))

    def _layers(self, model: QueryNetwork, image: Tensor, progress: float) -> list[Queries]:
        """What the loss sees of ``image``, padded, when the share ``progress`` of training is
        done."""
        return model.queries(image)

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``backbone`` (Swin) and ``head`` (pixel decoder, transformer decoder, class head)."""
        mark = "pixel_level_module.encoder."
        backbone = [p for n, p in model.named_parameters() if mark in n]
        head = [p for n, p in model.named_parameters() if mark not in n]
        return {"backbone": backbone, "head": head}

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """Layers of Swin and both decoders, or of the ViT."""
        return innermost(model, (GradientCheckpointingLayer, PixelDecoderLayer))

    def _random(self) -> QueryNetwork:
        """The recipe's architecture with random weights."""
        return self._wrap(stored.random_network(self.recipe["model"], self.task.num_classes))

    def _names(self, given: Hub | Folder) -> dict[int, str]:
        """The classes of a network that is to be scored, by output. Raises WeightsError."""
        return stored.names_of(given)

    def _loaded(self, given: Hub | Folder, classes: int | None) -> tuple[Any, set[str]]:
        """See ``weights.pretrained_network``."""
        return stored.pretrained_network(given, classes)

    def _by_transformers(self, given: Hub | Folder) -> QueryNetwork:
        """Trained from, it gets a head of the task's classes, which starts at random where it had
        another one. Scored as it is, it keeps its own, and its classes are mapped to the task's."""
        names = self._names(given) if self.context.evaluating else {}
        unnamed = names == {i: f"LABEL_{i}" for i in range(self.task.num_classes)}
        chosen = self._groups(given, names, unnamed) if self.context.evaluating else None
        net, lacking = self._loaded(given, None if chosen else self.task.num_classes)
        network = self._wrap(net)
        network.groups = chosen
        local = isinstance(given, Folder)
        note = f"file: {given.sha256[:16]}" if local else f"pretrained: {given}"
        if chosen and unnamed and not self.recipe["model"]["class_map"]:
            note += " (its outputs have no names and are taken in the suite's order)"
        loaded = [n for n in network.state_dict() if n.removeprefix("net.") not in lacking]
        loaded = [n for n in loaded if n not in self.made_here]
        report(network, self.context, note, loaded, wrapping="as net.")
        return network

    def _groups(
        self, given: Hub | Folder, names: dict[int, str], unnamed: bool
    ) -> tuple[tuple[int, ...], ...]:
        """Which of the checkpoint's classes stand for each of the task's. Raises WeightsError with
        both lists where neither their names nor the recipe's class map say it. As many ``unnamed``
        as the task has classes are in its order, as in a file, which never has names."""
        class_map, task = self.recipe["model"]["class_map"], self.task
        if unnamed and not class_map:
            return tuple((index,) for index in names)
        try:
            return groups(names, task.class_names, task.mean_classes, class_map, str(short(given)))
        except DataError as error:
            raise WeightsError(str(error)) from error

    def _wrap(self, net: Any) -> QueryNetwork:
        statistics = self.recipe["model"]["normalisation"]
        return SemanticMask2Former(net, statistics["mean"], statistics["std"])
