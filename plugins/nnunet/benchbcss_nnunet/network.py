"""A network that nnU-Net planned, with all that its own predictor needs, in one module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: what belongs to a trained network beside its weights
PARTS = ("plans", "dataset", "configuration", "mirror")


class Planned(nn.Module):
    """Empty until nnU-Net has planned: ``plan`` uint8 [N] then holds ``PARTS`` as JSON, and
    ``network`` is what they describe. A checkpoint brings both."""

    plan: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("plan", torch.zeros(0, dtype=torch.uint8))
        self.network: nn.Module | None = None
        self._predictor: Any = None

    @property
    def parts(self) -> dict[str, Any]:
        """``PARTS`` by name; empty before nnU-Net has planned."""
        stored = bytes(self.plan.cpu().numpy())
        parts: dict[str, Any] = json.loads(stored) if stored else {}
        return parts

    def become(self, parts: Mapping[str, Any]) -> None:
        """The network that ``parts`` describe, with random weights, where this one is."""
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        text = json.dumps({name: parts[name] for name in PARTS}, sort_keys=True)
        device = self.plan.device
        plans = PlansManager(dict(parts["plans"]))
        configuration = plans.get_configuration(parts["configuration"])
        dataset = dict(parts["dataset"])
        self.network = nnUNetTrainer.build_network_architecture(
            plans,
            configuration,
            determine_num_input_channels(plans, configuration, dataset),
            plans.get_label_manager(dataset).num_segmentation_heads,
            enable_deep_supervision=False,
        ).to(device)
        self.plan = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(device)
        self._predictor = None

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **more: Any
    ) -> None:
        plan = state_dict.get(prefix + "plan")
        if plan is not None and plan.numel() and not torch.equal(plan.cpu(), self.plan.cpu()):
            self.become(json.loads(bytes(plan.cpu().numpy())))
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)

    def probabilities(self, image: np.ndarray, *, step: float, mirror: bool) -> np.ndarray:
        """uint8 [H, W, 3] -> float [heads, H, W], as nnU-Net's own predictor makes them."""
        predictor = self._of(step, mirror)
        channels = image.transpose(2, 0, 1)[:, None].astype(np.float32)
        # what NaturalImage2DIO says of every image
        _, chances = predictor.predict_single_npy_array(
            channels, {"spacing": (999, 1, 1)}, save_or_return_probabilities=True
        )
        return np.asarray(chances)[:, 0]

    def _of(self, step: float, mirror: bool) -> Any:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        if self._predictor is None:
            assert self.network is not None
            parts = self.parts
            made = nnUNetPredictor(
                tile_step_size=step,
                use_mirroring=mirror,
                device=self.plan.device,
                allow_tqdm=False,
            )
            plans = PlansManager(parts["plans"])
            made.manual_initialization(
                self.network,
                plans,
                plans.get_configuration(parts["configuration"]),
                [self.network.state_dict()],
                parts["dataset"],
                "nnUNetTrainer",
                tuple(parts["mirror"]) or None,
            )
            self._predictor = made
        return self._predictor
