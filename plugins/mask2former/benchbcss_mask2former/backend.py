"""Mask2Former (Cheng et al. 2022) for semantic segmentation."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from benchbcss import weights as files
from benchbcss.contract import Backend, Batch
from benchbcss.errors import WeightsError
from benchbcss.inference.views import pad
from benchbcss_mask2former import weights as stored
from benchbcss_mask2former.criterion import SetLoss
from benchbcss_mask2former.network import STRIDE, SemanticMask2Former, pad_target


class Mask2Former(Backend):
    """A set of queries, each a class and a mask; their sum is the label map."""

    def build(self) -> nn.Module:
        """The network with a head for the task's classes; ``notes['weights']`` says its start.

        Raises RecipeError for an unknown variant, WeightsError for weights that are asked for
        and missing or of another network.
        """
        wanted = self.context.weights
        path = Path(wanted)
        if wanted == "auto":
            return self._automatic()
        if wanted == "none":
            return self._wrap(self._random(), "random")
        if path.is_dir():
            return self._wrap(self._load(wanted), f"file: {files.digest(path)}")
        if not files.is_hub_id(wanted):
            return self._from_file(path)
        return self._wrap(self._load(wanted), f"pretrained: {wanted}")

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Class, mask and Dice terms of every decoder layer, at known pixels only."""
        assert isinstance(model, SemanticMask2Former)
        ignore = self.task.ignore_index
        criterion = SetLoss(self.task.num_classes, **self.recipe["loss"], ignore_index=ignore)
        return criterion(model.queries(pad(batch.image, STRIDE)), pad_target(batch.target, ignore))

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``backbone`` (Swin) and ``head`` (pixel decoder, transformer decoder, class head)."""
        mark = "pixel_level_module.encoder."
        backbone = [p for n, p in model.named_parameters() if mark in n]
        head = [p for n, p in model.named_parameters() if mark not in n]
        return {"backbone": backbone, "head": head}

    def _automatic(self) -> SemanticMask2Former:
        source = stored.variant(self.recipe["model"])["weights"]
        if not source:
            return self._wrap(self._random(), "random (smoke size has no pretrained weights)")
        try:
            return self._wrap(self._load(source), f"pretrained: {source}")
        except WeightsError:
            if self.context.strict_weights:
                raise
        note = f"random (pretrained weights {source} were not available)"
        return self._wrap(self._random(), note)

    def _load(self, source: str) -> Mask2FormerForUniversalSegmentation:
        return stored.pretrained_network(source, self.task.num_classes)

    def _random(self) -> Mask2FormerForUniversalSegmentation:
        return stored.random_network(self.recipe["model"], self.task.num_classes)

    def _wrap(self, net: Mask2FormerForUniversalSegmentation, note: str) -> SemanticMask2Former:
        self.context.notes["weights"] = note
        statistics = self.recipe["model"]["normalisation"]
        return SemanticMask2Former(net, statistics["mean"], statistics["std"])

    def _from_file(self, path: Path) -> SemanticMask2Former:
        """A network trained here: the state dict of the whole module, for the recipe's sizes."""
        state = files.read(path)
        network = self._wrap(self._random(), f"file: {files.digest(path)}")
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(
                f"Weights {path} are of another Mask2Former than the recipe's: {error}"
            ) from error
        return network
