"""SAM2 fine-tuned on prompts (Ravi et al. 2024), in both tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss import weights as files
from benchbcss.contract import Backend, Batch, Prompt
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.inference.views import to_float
from benchbcss.training.samples import TrainingData, seed_of
from benchbcss_sam2 import prompting
from benchbcss_sam2.losses import class_weights, object_losses
from benchbcss_sam2.network import VARIANTS, Encoded, SamNet
from benchbcss_sam2.semantic import ProbeData, Shares, paint


class Sam2(Backend):
    """Promptable segmentation; its semantic maps are proposals labelled by a linear probe."""

    validation = "prompted"

    def build(self) -> nn.Module:
        """SAM2 of the recipe's variant at the view's size; weights from the hub, Meta's ``.pt``
        or a checkpoint of this harness. Raises RecipeError and WeightsError."""
        labeller = self.recipe["predict"]["labeller"]
        if labeller != "probe":
            raise RecipeError(f"predict.labeller: there is no '{labeller}'. Known: probe.")
        self._shares = Shares()
        variant, size = self.recipe["model"]["variant"], self.recipe["view"]["size"]
        net = SamNet(variant, size, self.task.num_classes)
        self.context.notes["weights"] = self._start(net, variant)
        return net

    def _start(self, net: SamNet, variant: str) -> str:
        wanted = self.context.weights
        if wanted == "none":
            return "random"
        if wanted != "auto" and not files.is_hub_id(wanted):
            self._load(net, Path(wanted))
            return f"file: {files.digest(Path(wanted))}"
        full = VARIANTS[variant]
        source = f"facebook/sam2.1-hiera-{full}" if wanted == "auto" else wanted
        try:
            path = files.fetch(source, source.split("/")[1].replace("-", "_") + ".pt")
        except WeightsError:
            if self.context.strict_weights or wanted != "auto":
                raise
            return f"random (pretrained weights {source} were not available)"
        self._load(net, path)
        return f"pretrained: {source}"

    def _load(self, net: SamNet, path: Path) -> None:
        state = files.read(path)
        whole = net.state_dict()
        variant = f"SAM2.1 variant '{self.recipe['model']['variant']}'"
        if any(key.startswith("sam.") for key in state):
            files.fits(state, whole, str(path), f"{variant} with {self.task.num_classes} classes")
            net.load_state_dict(state)
        else:
            files.fits(state, net.sam.state_dict(), str(path), variant)
            net.sam.load_state_dict(state)

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder_stages12``, ``encoder_stages34``, ``encoder_neck`` and ``decoder``."""
        assert isinstance(model, SamNet)
        return model.groups()

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Up to three objects per image, prompted; see ``losses.object_losses``."""
        assert isinstance(model, SamNet)
        settings = self.recipe["loss"]
        encoded = model.encode(batch.image)
        image, label = prompting.draw_objects(
            batch.target, self.task.mean_classes, settings["max_objects"]
        )
        if not len(image):  # nothing but ignored pixels and 'other'
            zero = encoded.embedding.sum() * 0.0
            return {name: zero for name in ("mask", "dice", "iou", "object")}
        target = batch.target[image]
        masks, known = target == label[:, None, None], target != self.task.ignore_index
        points, kinds = prompting.draw_prompts(masks, known, settings["prompts"])
        logits, iou, presence = model.decode(
            encoded.take(image), points, kinds, self._multimask(points)
        )
        logits = F.interpolate(
            logits.float(), masks.shape[-2:], mode="bilinear", align_corners=False
        )
        weights = class_weights(
            settings["class_weights"], self.task.class_names, self.context.class_pixels
        )
        return object_losses(
            logits, iou, presence, masks, known, weights.to(image.device)[label], settings
        )

    def _multimask(self, points: Tensor) -> bool:
        return points.shape[1] <= self.recipe["model"]["multimask_max_points"]

    def after_training(self, model: nn.Module, samples: TrainingData) -> None:
        """Fit the probe on the training ROIs' embeddings."""
        assert isinstance(model, SamNet)
        data = ProbeData()
        device = self.context.device
        with torch.no_grad():
            for _, image, target in samples.rois():
                encoded = model.encode(to_float(image)[None].to(device))
                data.add(model.features(encoded)[0], target, self.task.num_classes)
            limit = self.recipe["predict"]["probe_cells"]
            seed = seed_of(self.context.seed, "probe")
            self.context.notes["probe"] = data.fit(model, limit, seed)

    def predict_roi(self, model: nn.Module, image: np.ndarray) -> np.ndarray:
        """uint8 [S, S, 3] -> labels uint8 [S, S]."""
        assert isinstance(model, SamNet)
        encoded = model.encode(to_float(image)[None].to(self.context.device))
        labels = paint(model, encoded, image.shape[0], self.recipe["predict"], self._shares)
        self.context.notes["semantic"] = self._shares.plain()
        return labels

    def encode(self, model: nn.Module, image: Tensor) -> Encoded:
        assert isinstance(model, SamNet)
        return model.encode(image)

    def predict_prompted(self, model: nn.Module, encoded: Any, prompts: list[Prompt]) -> Tensor:
        """Logits [N, S/4, S/4]; where three masks compete, the one of highest predicted IoU."""
        assert isinstance(model, SamNet)
        rows = []
        for prompt in prompts:
            points = [*prompt.points]
            labels = [*prompt.point_labels]
            if prompt.box is not None:
                points += [prompt.box[:2], prompt.box[2:]]
                labels += [2, 3]
            rows.append((points, labels))
        longest = max(len(labels) for _, labels in rows)
        device = encoded.embedding.device
        points = torch.zeros(len(rows), longest, 2, device=device)
        labels = torch.full((len(rows), longest), -1, device=device)
        for index, (xy, kind) in enumerate(rows):
            points[index, : len(kind)] = torch.tensor(xy)
            labels[index, : len(kind)] = torch.tensor(kind)
        many = encoded.take(torch.zeros(len(rows), dtype=torch.long, device=device))
        masks, iou, _ = model.decode(many, points, labels, self._multimask(points))
        best = iou.argmax(1)
        return masks[torch.arange(len(rows), device=device), best].float()


class ZeroShot(Sam2):
    """SAM2 as it comes: prompted track only, since naming regions without training needs CLIP."""

    def after_training(self, model: nn.Module, samples: TrainingData) -> None:
        """Nothing is fitted."""
