"""Segment Anything 3 (Carion et al. 2025) as released, through transformers: by points and boxes
in the prompted track, and by phrases in the semantic track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    Sam3Config,
    Sam3Model,
    Sam3TrackerConfig,
    Sam3TrackerModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from benchbcss.contract import IGNORE, Backend, Prompt
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.inference.networks import TakesRgb
from benchbcss.inference.views import to_float
from benchbcss.presets import merge
from benchbcss.weights import Auto, Folder, Hub
from benchbcss.weights.loading import Layout, load_into, report
from benchbcss.weights.pretrained import from_pretrained, of_repository, with_absent
from benchbcss_hf.backend import SMOKE

WORDS = 32  # tokens of a phrase; longer ones are cut
_END = 49407  # the token that ends a phrase in CLIP's vocabulary


class Sam3Net(TakesRgb):
    """``net`` takes images of the view's size, normalised."""

    def __init__(self, net: nn.Module, statistics: Mapping[str, Sequence[float]]) -> None:
        super().__init__(statistics["mean"], statistics["std"])
        self.net = net


class _Sam3(Backend):
    """Loads what ``kind`` and ``config`` name; nothing is trained here."""

    kind: type[PreTrainedModel]
    config: type[Any]
    made_here = ("mean", "std")

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Hub | None:
        source = recipe["model"]["weights"]
        return Hub(id=source) if source else None

    def build(self) -> nn.Module:
        """SAM3 by transformers, or the recipe's ``config`` with the weights of a file, or none.

        Raises WeightsError, which says where gated weights are asked for, and RecipeError.
        """
        automatic = self.automatic_weights(self.recipe)
        network, note = of_repository(self.context, automatic, self._by_transformers)
        if network is None:
            network = Sam3Net(self._random(), self.recipe["model"]["normalisation"])
            what = f"the recipe's {self.kind.__name__} (model.config)"
            load_into(network, self.context, Layout(what=what, unpretrained=note or SMOKE))
        return network

    def _random(self) -> nn.Module:
        try:
            made: nn.Module = self.kind(self.config(**self._settings()))
        except Exception as error:
            first = (str(error).splitlines() or [""])[0][:200]
            raise RecipeError(
                f"model.config does not make a {self.kind.__name__}: {type(error).__name__}: "
                f"{first}"
            ) from error
        return made

    def _settings(self) -> dict[str, Any]:
        """The recipe's configuration, for images of the view's size."""
        settings: dict[str, Any] = self.recipe["model"]["config"]
        size = self.recipe["view"]["size"]
        if not settings:
            return settings  # transformers' own, for 1008 px
        vision = settings["vision_config"]
        cells = size // vision["backbone_config"]["patch_size"]
        sized: dict[str, Any] = {
            "vision_config": {
                "backbone_config": {"image_size": size},
                "backbone_feature_sizes": [[cells * n, cells * n] for n in (4, 2, 1)],
            }
        }
        if "prompt_encoder_config" in settings:
            sized["prompt_encoder_config"] = {"image_size": size}
        return merge(settings, sized)

    def _by_transformers(self, given: Hub | Folder) -> Sam3Net:
        try:
            net, lacking = with_absent(self.kind.from_pretrained, given)
        except WeightsError as error:
            raise self._with_address(error, given) from error
        network = Sam3Net(net, self.recipe["model"]["normalisation"])
        self._check_size(network)
        note = f"file: {given.sha256[:16]}" if isinstance(given, Folder) else f"pretrained: {given}"
        names = [n for n in network.state_dict() if n.removeprefix("net.") not in lacking]
        report(network, self.context, note, names, wrapping="as net.")
        return network

    def _check_size(self, network: Sam3Net) -> None:
        size = int(network.net.config.vision_config.image_size)
        if self.recipe["view"]["size"] != size:
            raise RecipeError(f"view.size must be {size} for these weights of SAM3.")

    def _with_address(self, error: WeightsError, given: Any) -> WeightsError:
        if not isinstance(given, Hub):
            return error
        return WeightsError(
            f"{error} They are gated: ask for access at https://huggingface.co/{given.id}, then "
            f"log in with `hf auth login`."
        )


class Sam3Prompted(_Sam3):
    """Points and boxes to masks, by SAM3's tracker on a single image."""

    kind, config = Sam3TrackerModel, Sam3TrackerConfig

    def encode(self, model: nn.Module, image: Tensor) -> list[Tensor]:
        assert isinstance(model, Sam3Net)
        maps: list[Tensor] = model.net.get_image_embeddings(model.normalised(image))
        return maps

    def predict_prompted(self, model: nn.Module, encoded: Any, prompts: list[Prompt]) -> Tensor:
        """Logits [N, s, s]; where three masks compete, the one of highest predicted IoU."""
        assert isinstance(model, Sam3Net)
        # Together go the prompts of one kind: padding would add tokens to the shorter ones.
        kinds: dict[tuple[int, bool], list[int]] = {}
        for index, prompt in enumerate(prompts):
            kinds.setdefault((len(prompt.points), prompt.box is not None), []).append(index)
        device = encoded[-1].device
        logits: dict[int, Tensor] = {}
        for (clicks, boxed), places in kinds.items():
            some = [prompts[place] for place in places]
            points = torch.tensor([[p.points for p in some]], device=device) if clicks else None
            labels = torch.tensor([[p.point_labels for p in some]], device=device)
            output = model.net(
                image_embeddings=encoded,
                input_points=points,
                input_labels=labels if clicks else None,
                input_boxes=torch.tensor([[p.box for p in some]], device=device) if boxed else None,
                multimask_output=clicks + 2 * boxed <= self.recipe["model"]["multimask_max_points"],
            )
            masks, iou = output.pred_masks[0].float(), output.iou_scores[0]
            best = masks[torch.arange(len(places), device=device), iou.argmax(1)]
            logits.update(zip(places, best, strict=True))
        return torch.stack([logits[index] for index in range(len(prompts))])


class Sam3Text(_Sam3):
    """Phrases to label maps: each phrase's instances above a score, a pixel to the class of its
    highest one, and to none where there is no instance."""

    kind, config = Sam3Model, Sam3Config

    def build(self) -> nn.Module:
        """Also reads the phrases; see ``_Sam3.build``. Raises RecipeError for a class of the mean
        without one."""
        given = self.recipe["predict"]["phrases"]
        names = self.task.class_names
        for name in (names[label] for label in self.task.mean_classes):
            if not given.get(name):
                raise RecipeError(
                    f"predict.phrases has none for the class '{name}'. Add some with --set "
                    f"'predict.phrases.{name}=[a phrase, another]', or in a recipe of your own."
                )
        self._phrases = {label: list(given.get(name) or ()) for label, name in enumerate(names)}
        self._tokens = self._tokenizer()
        self._texts: dict[str, tuple[Any, Tensor]] = {}
        return super().build()

    def predict_roi(self, model: nn.Module, image: np.ndarray) -> np.ndarray:
        """uint8 [S, S, 3] -> labels uint8 [S, S], 255 where no phrase has an instance."""
        assert isinstance(model, Sam3Net)
        pixels = model.normalised(to_float(image)[None].to(self.context.device))
        seen = model.net.get_vision_features(pixels)
        shape = (image.shape[0], image.shape[1])
        best = torch.zeros(shape, device=pixels.device)
        labels = torch.full(shape, IGNORE, dtype=torch.uint8, device=pixels.device)
        for label, phrases in self._phrases.items():
            for phrase in phrases:
                text, mask = self._text(model, phrase)
                output = model.net(vision_embeds=seen, text_embeds=text, attention_mask=mask)
                score = instance_scores(output, shape, self.recipe["predict"]["score"])
                higher = score > best  # of equals, the first class stays
                labels[higher], best = label, torch.maximum(best, score)
        covered = float((labels != IGNORE).float().mean())
        self.context.remarks["covered"] = covered
        return labels.cpu().numpy()

    def summary(self, remarks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The mean share of an ROI that phrases covered."""
        shares = [remark["covered"] for remark in remarks if "covered" in remark]
        return {"covered": sum(shares) / len(shares)} if shares else {}

    def _text(self, model: Sam3Net, phrase: str) -> tuple[Any, Tensor]:
        """Features of a phrase and which of its tokens are words, made once."""
        if phrase not in self._texts:
            ids, mask = (one.to(self.context.device) for one in self._tokens(phrase))
            made = model.net.get_text_features(input_ids=ids, attention_mask=mask)
            kept = BaseModelOutputWithPooling(pooler_output=made.pooler_output)
            self._texts[phrase] = kept, mask
        return self._texts[phrase]

    def _tokenizer(self) -> Any:
        """phrase -> ids and mask int64 [1, WORDS]: the repository's tokenizer, or, of weights that
        bring none, open_clip's, which has the same vocabulary."""
        weights = self.context.weights
        given = self.automatic_weights(self.recipe) if isinstance(weights, Auto) else weights
        if isinstance(given, Hub | Folder):
            try:
                theirs = from_pretrained(AutoTokenizer.from_pretrained, given)
            except WeightsError:
                theirs = None
            if theirs is not None:
                return lambda phrase: _encoded(theirs, phrase)
        from open_clip import SimpleTokenizer

        ours = SimpleTokenizer(context_length=WORDS)
        return lambda phrase: _masked(ours(phrase))


def instance_scores(output: Any, shape: tuple[int, int], least: float) -> Tensor:
    """float32 ``shape``: of the instances that cover a pixel, the highest score, 0 where none does.

    An instance's score is its own times that of the phrase being present at all, as in
    transformers' ``post_process_instance_segmentation``; those up to ``least`` are left out.
    """
    scores = (output.pred_logits.float().sigmoid() * output.presence_logits.float().sigmoid())[0]
    result = torch.zeros(shape, device=scores.device)
    for index in torch.nonzero(scores > least).flatten().tolist():
        share = output.pred_masks[:, index : index + 1].float().sigmoid()
        mask = F.interpolate(share, shape, mode="bilinear", align_corners=False)[0, 0] > 0.5
        result = torch.where(mask, result.clamp(min=float(scores[index])), result)
    return result


def _encoded(tokenizer: Any, phrase: str) -> tuple[Tensor, Tensor]:
    made = tokenizer(
        phrase, return_tensors="pt", padding="max_length", max_length=WORDS, truncation=True
    )
    return made["input_ids"], made["attention_mask"]


def _masked(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Words end with the end token; what follows is padding."""
    after = (ids == _END).long().cumsum(1) - (ids == _END).long()
    return ids, (after == 0).long()
