"""SAM2 fine-tuned on prompts (Ravi et al. 2024), in both tracks."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss import registry
from benchbcss.contract import Backend, Batch, Prompt, Track
from benchbcss.errors import PluginError, RecipeError
from benchbcss.inference.views import to_float
from benchbcss.protocols import Labeller, Scene
from benchbcss.training.samples import TrainingData, seed_of
from benchbcss.weights import Weights
from benchbcss.weights.loading import Layout, load_into
from benchbcss.weights.value import short
from benchbcss_sam2 import prompting
from benchbcss_sam2 import weights as stored
from benchbcss_sam2.losses import class_weights, object_losses
from benchbcss_sam2.network import FEATURES, Encoded, Promptable, SamNet
from benchbcss_sam2.semantic import Shares, paint


class Sam2(Backend):
    """Promptable segmentation; its semantic maps are proposals, each named by a labeller."""

    validation = "prompted"
    fits_labellers = True  # on the training ROIs; without, only those that learn nothing are left
    family = "SAM2.1"
    made_here = ("mean", "std", "probe")  # the probe is fitted where no checkpoint holds it

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Weights | None:
        return stored.sam2(recipe["model"]["variant"], "").pretrained

    def build(self) -> nn.Module:
        """SAM2 of the recipe's variant at the view's size; weights from the hub, Meta's ``.pt``
        or a checkpoint of this harness. Raises RecipeError and WeightsError."""
        self._labeller = self._make_labeller(self.recipe["predict"]["labeller"])
        variant = self.recipe["model"]["variant"]
        learned = self._labeller.module(FEATURES)  # first: it may draw random numbers
        net = self._network(variant, self.recipe["view"]["size"])
        if learned is not None:
            net.probe = learned
        what = (
            f"{self.family} variant '{variant}' with {self.task.num_classes} classes and a "
            f"{self._labeller_name} labeller"
        )
        names = load_into(net, self.context, self._layout(variant, what)).names(net)
        self._has_probe = any(name.startswith("probe.") for name in names)
        return net

    def _make_labeller(self, name: str) -> Labeller:
        """The registered labeller that the recipe names. Raises RecipeError and PluginError."""
        known = {
            key: entry
            for key, entry in registry.load().labellers.items()
            if self.fits_labellers or not entry.info.learns
        }
        if name not in known:
            raise RecipeError(
                f"predict.labeller: {type(self).__name__} has no '{name}'. "
                f"Known: {', '.join(sorted(known))}."
            )
        known[name].require()
        self._learns, self._labeller_name = known[name].info.learns, name
        return known[name].load()(self.task.class_names, self.context, self.recipe["predict"])

    def _network(self, variant: str, size: int) -> Promptable:
        for scale in (self.recipe["train"] or {}).get("scales", ()):
            if scale["size"] % 32:
                raise RecipeError(
                    f"train.scales: sizes must be multiples of 32 for SAM2, got {scale['size']}."
                )
        return SamNet(variant, size, self.task.num_classes)

    def unavailable(self, track: Track) -> str | None:
        """A labeller may need weights that are not here."""
        problem = None if track == "prompted" else self._labeller.unavailable()
        return f"the labeller '{self._labeller_name}' {problem}" if problem else None

    def _layout(self, variant: str, what: str) -> Layout:
        return stored.sam2(variant, what)

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder_stages12``, ``encoder_stages34``, ``encoder_neck`` and ``decoder``."""
        assert isinstance(model, Promptable)
        return model.groups()

    def recomputable(self, model: nn.Module) -> list[nn.Module]:
        """The blocks of the image encoder."""
        assert isinstance(model, SamNet)
        return list(model.sam.image_encoder.trunk.blocks)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Up to three objects per image, prompted; see ``losses.object_losses``."""
        assert isinstance(model, Promptable)
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
        """Fit the labeller on the training ROIs, unless the checkpoint under evaluation holds what
        it learned."""
        assert isinstance(model, Promptable)
        notes = self.context.notes
        if not self._learns or self.unavailable("semantic"):
            return
        if self.context.evaluating and self._has_probe:
            notes["probe"] = "as the checkpoint holds it"
            return
        scenes = ((self._scene(model, image), target) for _, image, target in samples.rois())
        with torch.no_grad():
            seed = seed_of(self.context.seed, "probe")
            notes["probe"] = self._labeller.fit(model.probe, scenes, seed)

    def predict_roi(self, model: nn.Module, image: np.ndarray) -> np.ndarray:
        """uint8 [S, S, 3] -> labels uint8 [S, S]."""
        assert isinstance(model, Promptable)
        encoded = model.encode(to_float(image)[None].to(self.context.device))
        names = self._labeller.open(self._scene(model, image, encoded))
        settings = self.recipe["predict"]
        shares = Shares(**self.context.remarks.get("shares", {}))
        labels = paint(model, encoded, names, image.shape[0], settings, shares)
        self.context.remarks["shares"] = vars(shares)
        return labels

    def summary(self, remarks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """How the label maps came about, in means over ROIs."""
        if not remarks:
            return {}
        total = Shares.total(Shares(**remark["shares"]) for remark in remarks)
        return {"semantic": {"labeller": self._labeller_name, **total.plain()}}

    def _scene(self, model: Promptable, image: np.ndarray, encoded: Encoded | None = None) -> Scene:
        """``image`` uint8 [S, S, 3] for a labeller; it is encoded when features are asked for."""

        def features() -> Tensor:
            seen = encoded
            if seen is None:
                seen = model.encode(to_float(image)[None].to(self.context.device))
            return model.features(seen)[0]

        return Scene(image, features, model.probe)

    def encode(self, model: nn.Module, image: Tensor) -> Encoded:
        assert isinstance(model, Promptable)
        return model.encode(image)

    def predict_prompted(self, model: nn.Module, encoded: Any, prompts: list[Prompt]) -> Tensor:
        """Logits [N, S/4, S/4]; where three masks compete, the one of highest predicted IoU."""
        assert isinstance(model, Promptable)
        # Together go the prompts of one kind: padding would add tokens to the shorter ones.
        kinds: dict[tuple[int, bool], list[int]] = {}
        for index, prompt in enumerate(prompts):
            kinds.setdefault((len(prompt.points), prompt.box is not None), []).append(index)
        device = encoded.embedding.device
        logits: dict[int, Tensor] = {}
        for places in kinds.values():
            points, labels = _as_points([prompts[place] for place in places])
            many = encoded.take(torch.zeros(len(places), dtype=torch.long, device=device))
            masks, iou, _ = model.decode(
                many, points.to(device), labels.to(device), self._multimask(points)
            )
            best = masks[torch.arange(len(places), device=device), iou.argmax(1)].float()
            logits.update(zip(places, best, strict=True))
        return torch.stack([logits[index] for index in range(len(prompts))])


def _as_points(prompts: list[Prompt]) -> tuple[Tensor, Tensor]:
    """Prompts of one kind as points float32 [N, P, 2] and labels int64 [N, P]; a box is two."""
    points, labels = [], []
    for prompt in prompts:
        xy, kinds = list(prompt.points), list(prompt.point_labels)
        if prompt.box is not None:
            xy += [prompt.box[:2], prompt.box[2:]]
            kinds += [2, 3]
        points.append(xy)
        labels.append(kinds)
    return torch.tensor(points), torch.tensor(labels)


class ZeroShot(Sam2):
    """SAM2, or the original SAM, as it comes; nothing is learned, not even names of regions."""

    fits_labellers = False

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Weights | None:
        if recipe["model"]["family"] != "sam":
            return super().automatic_weights(recipe)
        return stored.sam(_repository(recipe), "").pretrained

    def build(self) -> nn.Module:
        family = self.recipe["model"]["family"]
        if family not in ("sam2", "sam"):
            raise RecipeError(f"model.family: there is no '{family}'. Known: sam2, sam.")
        if family == "sam2" and self._scaling() != "imagenet":
            raise RecipeError("model.normalisation: SAM2 knows imagenet alone; minmax is MedSAM's.")
        if family == "sam" and importlib.util.find_spec("transformers") is None:
            raise PluginError(
                "model.family sam needs transformers: pip install 'benchbcss[mask2former]'"
            )
        self.family = "SAM" if family == "sam" else "SAM2.1"
        return super().build()

    def _network(self, variant: str, size: int) -> Promptable:
        if self.family != "SAM":
            return super()._network(variant, size)
        from benchbcss_sam2.sam1 import Sam1Net

        self._sam1 = Sam1Net(variant, size, self.task.num_classes, self._scaling())
        return self._sam1

    def _scaling(self) -> str:
        return str(self.recipe["model"]["normalisation"])

    def _layout(self, variant: str, what: str) -> Layout:
        if self.family != "SAM":
            return super()._layout(variant, what)
        from benchbcss_sam2.sam1 import loader

        given = f"The weights {short(self.context.weights)} are not of {what}"
        return stored.sam(_repository(self.recipe), what, loader(self._sam1.sam, given))


class MedSam(ZeroShot):
    """SAM fine-tuned on medical images with boxes, which are all that it was taught to follow."""

    strategies = ("box",)


def _repository(recipe: dict[str, Any]) -> str:
    """Where the recipe's weights of the original SAM's family are on the hub; '' for nowhere.

    Raises RecipeError for a variant that there is not."""
    from benchbcss_sam2.sam1 import VARIANTS as OLD

    model = recipe["model"]
    if model["variant"] not in OLD:
        known = ", ".join(OLD)
        raise RecipeError(f"model.variant: SAM has no '{model['variant']}'. Known: {known}.")
    return str(model["weights"] or OLD[model["variant"]][0])
