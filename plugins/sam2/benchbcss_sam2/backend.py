"""SAM2 fine-tuned on prompts (Ravi et al. 2024), in both tracks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbcss import registry
from benchbcss import weights as files
from benchbcss.contract import Backend, Batch, Prompt, Track
from benchbcss.errors import PluginError, RecipeError, WeightsError
from benchbcss.inference.views import to_float
from benchbcss.protocols import Labeller, Scene
from benchbcss.training.samples import TrainingData, seed_of
from benchbcss_sam2 import prompting
from benchbcss_sam2.losses import class_weights, object_losses
from benchbcss_sam2.network import FEATURES, VARIANTS, Encoded, Promptable, SamNet
from benchbcss_sam2.semantic import Shares, paint


class Sam2(Backend):
    """Promptable segmentation; its semantic maps are proposals, each named by a labeller."""

    validation = "prompted"
    fits_labellers = True  # on the training ROIs; without, only those that learn nothing are left
    family = "SAM2.1"

    def build(self) -> nn.Module:
        """SAM2 of the recipe's variant at the view's size; weights from the hub, Meta's ``.pt``
        or a checkpoint of this harness. Raises RecipeError and WeightsError."""
        self._labeller = self._make_labeller(self.recipe["predict"]["labeller"])
        self._shares = Shares()
        self._own_checkpoint = False
        variant = self.recipe["model"]["variant"]
        learned = self._labeller.module(FEATURES)  # first: it may draw random numbers
        net = self._network(variant, self.recipe["view"]["size"])
        if learned is not None:
            net.probe = learned
        self.context.notes["weights"] = self._start(net, variant)
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

    def _start(self, net: Promptable, variant: str) -> str:
        wanted = self.context.weights
        if wanted == "none":
            return "random"
        if wanted != "auto" and not files.is_hub_id(wanted):
            self._load(net, Path(wanted))
            return f"file: {files.digest(Path(wanted))}"
        source = self._hub_id(variant) if wanted == "auto" else wanted
        try:
            path = self._fetch(source)
        except WeightsError:
            if self.context.strict_weights or wanted != "auto":
                raise
            return f"random (pretrained weights {source} were not available)"
        self._load(net, path)
        return f"pretrained: {source}"

    def _hub_id(self, variant: str) -> str:
        return f"facebook/sam2.1-hiera-{VARIANTS[variant]}"

    def _fetch(self, source: str) -> Path:
        # Meta names its files sam2.1_hiera_large.pt in facebook/sam2.1-hiera-large.
        return files.fetch(source, source.split("/")[1].replace("-", "_") + ".pt")

    def _load(self, net: Promptable, path: Path) -> None:
        state = files.read(path)
        variant = f"{self.family} variant '{self.recipe['model']['variant']}'"
        if any(key.startswith("sam.") for key in state):
            whole = net.state_dict()
            classes = f"{self.task.num_classes} classes"
            what = f"{variant} with {classes} and a {self._labeller_name} labeller"
            files.fits(state, whole, str(path), what)
            net.load_state_dict(state)
            self._own_checkpoint = True
        else:
            files.fits(state, net.sam.state_dict(), str(path), variant)
            net.sam.load_state_dict(state)

    def parameter_groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """``encoder_stages12``, ``encoder_stages34``, ``encoder_neck`` and ``decoder``."""
        assert isinstance(model, Promptable)
        return model.groups()

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
        if self.context.evaluating and self._own_checkpoint:
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
        labels = paint(model, encoded, names, image.shape[0], settings, self._shares)
        self.context.notes["semantic"] = {"labeller": self._labeller_name, **self._shares.plain()}
        return labels

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
        found: dict[int, Tensor] = {}
        for places in kinds.values():
            points, labels = _as_points([prompts[place] for place in places])
            many = encoded.take(torch.zeros(len(places), dtype=torch.long, device=device))
            masks, iou, _ = model.decode(
                many, points.to(device), labels.to(device), self._multimask(points)
            )
            best = masks[torch.arange(len(places), device=device), iou.argmax(1)].float()
            found.update(zip(places, best, strict=True))
        return torch.stack([found[index] for index in range(len(prompts))])


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

    def build(self) -> nn.Module:
        family = self.recipe["model"]["family"]
        if family not in ("sam2", "sam"):
            raise RecipeError(f"model.family: there is no '{family}'. Known: sam2, sam.")
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

        return Sam1Net(variant, size, self.task.num_classes)

    def _hub_id(self, variant: str) -> str:
        if self.family != "SAM":
            return super()._hub_id(variant)
        from benchbcss_sam2.sam1 import VARIANTS as OLD

        return OLD[variant][0]

    def _fetch(self, source: str) -> Path:
        if self.family != "SAM":
            return super()._fetch(source)
        return files.fetch(source, "model.safetensors")
