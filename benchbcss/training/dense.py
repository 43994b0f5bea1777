"""The base of dense backends: one forward pass, one softmax per pixel."""

from __future__ import annotations

from torch import Tensor, nn

from benchbcss.contract import Backend, Batch
from benchbcss.training.losses import balanced_loss


class DenseBackend(Backend):
    """A backend whose network maps RGB float [B, 3, H, W] in [0, 1] to logits float [B, K, H, W],
    for any H and W. ``build`` is left to write; the recipe's ``loss`` section weighs the terms."""

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Class-balanced cross-entropy and soft Dice of the known pixels."""
        return balanced_loss(
            model(batch.image),
            batch.target,
            self.context.class_pixels,
            self.recipe["loss"],
            self.task.ignore_index,
        )

    def predict(self, model: nn.Module, image: Tensor) -> Tensor:
        """Logits float32 [B, K, H, W], whatever the precision of the forward pass."""
        logits: Tensor = model(image)
        return logits.float()
