"""sam2_lora: SAM2.1 with low-rank adapters in its image encoder (peft), prompted as the others."""

from __future__ import annotations

from torch import nn

from benchbcss.training.adapters import adapt, is_adapter, load_plain
from benchbcss.weights.loading import Layout
from benchbcss.weights.value import short
from benchbcss_sam2 import weights as stored
from benchbcss_sam2.backend import Sam2
from benchbcss_sam2.network import Promptable, SamNet


class Sam2Lora(Sam2):
    """The image encoder is frozen; what learns are its adapters and the decoder."""

    def _network(self, variant: str, size: int) -> Promptable:
        net = super()._network(variant, size)
        assert isinstance(net, SamNet)
        net.sam.image_encoder.requires_grad_(False)
        adapt(net.sam.image_encoder.trunk, self.recipe["model"]["lora"])
        self._sam = net.sam
        return net

    def _layout(self, variant: str, what: str) -> Layout:
        """Meta's files hold no adapter, which then starts without effect. They are trained from,
        and never scored. An encoder may come alone, but not half of one."""
        given = f"The weights {short(self.context.weights)} are not of {what}"
        return stored.sam2(
            variant,
            what,
            lambda state: load_plain(self._sam, state, given, needed=lambda n: ".trunk." in n),
        )

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``adapters`` and ``decoder``."""
        assert isinstance(model, SamNet)
        trunk = model.sam.image_encoder.trunk
        adapters = [p for name, p in trunk.named_parameters() if is_adapter(name)]
        return {"adapters": adapters, "decoder": super().parameter_groups(model)["decoder"]}
