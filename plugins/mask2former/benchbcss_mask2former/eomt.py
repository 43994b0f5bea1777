"""EoMT (Kerssies et al. 2025) for semantic segmentation: a plain ViT that reads queries itself."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from benchbcss.errors import RecipeError
from benchbcss.weights import Folder, Hub
from benchbcss_mask2former import eomt_weights as stored
from benchbcss_mask2former.backend import Mask2Former
from benchbcss_mask2former.criterion import Queries
from benchbcss_mask2former.eomt_network import SemanticEomt
from benchbcss_mask2former.network import QueryNetwork


class Eomt(Mask2Former):
    """Mask2Former's queries and loss without its decoder. Masked attention is annealed: at the end
    of training, and whenever it predicts, the network attends everywhere."""

    layout = stored.LAYOUT

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``backbone`` (the ViT) and ``head`` (queries, mask and class heads, upscaling)."""
        backbone = [p for n, p in model.named_parameters() if n.startswith(stored.BACKBONE)]
        head = [p for n, p in model.named_parameters() if not n.startswith(stored.BACKBONE)]
        return {"backbone": backbone, "head": head}

    @cached_property
    def _power(self) -> float:
        """Asked for in training alone: runs of earlier editions can still be predicted with. Raises
        RecipeError for what their recipes say."""
        settings = self.recipe["model"]["annealing"]
        if set(settings) != {"power"}:
            raise RecipeError(
                f"model.annealing is {settings}, expected a power alone, such as {{power: 0.9}}, "
                f"which follows the share of training that is done. Train anew with that."
            )
        return float(settings["power"])

    def _layers(self, model: QueryNetwork, image: Tensor, progress: float) -> list[Queries]:
        assert isinstance(model, SemanticEomt)
        return model.queries(image, annealed(model.blocks, progress, self._power))

    def _random(self) -> QueryNetwork:
        return self._wrap(stored.random_network(self.recipe["model"], self.task.num_classes))

    def _names(self, given: Hub | Folder) -> dict[int, str]:
        return stored.names_of(given)

    def _loaded(self, given: Hub | Folder, classes: int | None) -> tuple[Any, set[str]]:
        return stored.pretrained_network(given, classes, self.recipe["model"])

    def _wrap(self, net: Any) -> QueryNetwork:
        statistics = self.recipe["model"]["normalisation"]
        return SemanticEomt(net, statistics["mean"], statistics["std"])


def annealed(blocks: int, progress: float, power: float) -> Tensor:
    """With which probability each of the last ``blocks`` blocks masks a query's attention, when the
    share ``progress`` of training is done: float32 [blocks].

    Training is divided into ``blocks`` + 2 equal parts, of which the first and the last are without
    a change. In each of the others one block falls from 1 to 0, by a polynomial of ``power``.
    """
    done = (progress * (blocks + 2) - 1 - torch.arange(blocks)).clamp(0, 1)
    return (1 - done) ** power
