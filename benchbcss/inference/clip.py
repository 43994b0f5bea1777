"""CLIP names regions: open_clip models, prompt files, crops.

Weights are loaded on first use. Where they are not available, what needs them is ``not measured``,
with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchbcss import weights as files
from benchbcss.errors import BenchError, PluginError, WeightsError
from benchbcss.inference import clip_models
from benchbcss.inference.guard import lifted
from benchbcss.inference.precision import Autocast, full
from benchbcss.suites import ClipSpec
from benchbcss.weights.hub import OF_CLIP

BATCH = 32
RESIZE = "padded with white to a square, then bicubic to the model's input size"
_WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class Source:
    """CLIP as a suite names it, loaded once and when first asked for."""

    def __init__(
        self, settings: ClipSpec, device: torch.device, autocast: Autocast = nullcontext
    ) -> None:
        self.settings, self.device, self.autocast = settings, device, autocast
        self._loaded: Clip | None = None
        self._error: BenchError | None = None

    def load(self) -> Clip:
        """Raises PluginError (open_clip is not installed) and WeightsError."""
        if self._error is not None:
            raise self._error
        if self._loaded is None:
            try:
                with lifted():  # a backend may ask first while it predicts
                    self._loaded = _load(self.settings, self.device)
                    self._loaded.autocast = self.autocast
            except BenchError as error:
                self._error = error
                raise
        return self._loaded

    def problem(self, classes: Sequence[str] = ()) -> str | None:
        """Why CLIP cannot name ``classes`` here, or None."""
        lacking = [name for name in classes if name not in self.settings.prompts]
        if lacking:
            return (
                f"the prompt file '{self.settings.prompts_name}' has no prompt for "
                f"{', '.join(lacking)}"
            )
        try:
            self.load()
        except BenchError as error:
            return str(error)
        return None

    def prompts(self, classes: Sequence[str]) -> list[list[str]]:
        return [self.settings.prompts[name] for name in classes]


class Clip:
    """A loaded model. ``dimension``: length of an embedding; ``provenance``: which weights. It runs
    in the precision of ``autocast``; its embeddings are compared in float32."""

    autocast: Autocast = staticmethod(nullcontext)

    def __init__(self, model: Any, tokenizer: Any, provenance: str, device: torch.device) -> None:
        self.model, self.tokenizer, self.provenance = model.eval().to(device), tokenizer, provenance
        self.device = device
        seen = model.visual.preprocess_cfg
        size = seen["size"]
        self.size = int(size[0] if isinstance(size, (tuple, list)) else size)
        self.mean = torch.tensor(seen["mean"], device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(seen["std"], device=device).view(1, 3, 1, 1)
        self._texts: dict[tuple[tuple[str, ...], ...], Tensor] = {}

    @property
    def dimension(self) -> int:
        return int(self.texts([["a"]]).shape[1])

    @torch.inference_mode()
    def texts(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """One normalised embedding per class, float32 [C, D]: the mean over its prompts."""
        key = tuple(tuple(class_prompts) for class_prompts in prompts)
        if key not in self._texts:
            rows = []
            for class_prompts in prompts:
                tokens = self.tokenizer(list(class_prompts)).to(self.device)
                with self.autocast():
                    encoded = self.model.encode_text(tokens)
                embedded = F.normalize(encoded.float(), dim=-1)
                rows.append(F.normalize(embedded.mean(0), dim=-1))
            self._texts[key] = torch.stack(rows)
        return self._texts[key]

    @torch.inference_mode()
    def images(self, crops: Sequence[np.ndarray]) -> Tensor:
        """Normalised embeddings float32 [N, D] of crops uint8 [h, w, 3] of any size."""
        rows = []
        for first in range(0, len(crops), BATCH):
            squares = [_square(crop, self.size) for crop in crops[first : first + BATCH]]
            batch = torch.from_numpy(np.stack(squares)).to(self.device).permute(0, 3, 1, 2)
            scaled = (batch.float() / 255 - self.mean) / self.std
            with self.autocast():
                encoded = self.model.encode_image(scaled)
            rows.append(F.normalize(encoded.float(), dim=-1))
        return torch.cat(rows)

    def logits(self, crops: Sequence[np.ndarray], prompts: Sequence[Sequence[str]]) -> Tensor:
        """float32 [N, C]: cosine similarities times the model's own scale."""
        scale = self.model.logit_scale.detach().exp().float()
        images, texts = self.images(crops), self.texts(prompts)
        with torch.inference_mode(), full(self.device):
            return scale * images @ texts.T


def crop(image: np.ndarray, mask: np.ndarray, settings: ClipSpec) -> np.ndarray | None:
    """uint8 [h, w, 3]: what CLIP sees of a region, bool [H, W]; None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    margin = round(settings.margin * max(bottom - top, right - left))
    window = np.s_[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    if settings.outside == "context":
        return np.array(image[window])
    return np.where(mask[window][..., None], image[window], np.uint8(255))


def _square(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), 255, np.uint8)
    square[top : top + height, left : left + width] = image
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))


def _load(settings: ClipSpec, device: torch.device) -> Clip:
    if settings.model.startswith(clip_models.TRANSFORMERS):
        theirs, said = clip_models.load(settings.model.removeprefix(clip_models.TRANSFORMERS))
        return Clip(theirs, theirs.tokens, said, device)
    try:
        import open_clip
    except ImportError as error:
        raise PluginError(
            "CLIP needs open_clip_torch, which is not installed: pip install 'benchbcss[clip]'"
        ) from error
    model, weights = settings.model, settings.weights
    if model.endswith(".json"):
        if not Path(model).is_file():
            raise WeightsError(f"The CLIP model configuration {model} does not exist.")
        open_clip.add_model_config(Path(model))
        model = Path(model).stem
    config: dict[str, Any] = {}
    file, provenance = None, f"pretrained: {settings.model}"
    if model.startswith("hf-hub:"):
        repository = model.removeprefix("hf-hub:")
        files.fetch(repository, "open_clip_config.json", remedy=OF_CLIP)
        _first(repository)
    elif model.startswith("local-dir:"):
        folder = Path(model.removeprefix("local-dir:"))
        if not folder.is_dir():
            raise WeightsError(f"The CLIP folder {folder} does not exist.")
        provenance = f"file: {files.digest(folder)}"
    elif model not in open_clip.list_models():
        raise WeightsError(
            f"open_clip knows no model '{model}'. See open_clip.list_models(), or name "
            "hf-hub:OWNER/NAME, local-dir:PATH or a configuration file (.json)."
        )
    else:
        file, provenance = _weights(open_clip, model, weights)
        config = open_clip.pretrained.get_pretrained_cfg(model, weights) or {}
    try:
        made = open_clip.create_model(
            model,
            pretrained=None if file is None else str(file),
            load_weights=True,
            require_pretrained=True,  # else what a folder lacks is left at a random start
            weights_only=True,
            force_quick_gelu=bool(config.get("quick_gelu")),
            force_preprocess_cfg={k: config[k] for k in ("mean", "std") if k in config} or None,
        )
        tokenizer = open_clip.get_tokenizer(model)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise WeightsError(
            f"The CLIP weights {file or settings.model} are not of the model '{settings.model}', "
            f"or are truncated ({type(error).__name__}: {first[:200]})."
        ) from error
    return Clip(made, tokenizer, provenance, device)


def _weights(open_clip: Any, model: str, weights: str) -> tuple[Path, str]:
    """The file of a tag (from the hub's cache or the hub) or a path."""
    if weights in open_clip.list_pretrained_tags_by_model(model):
        repository = hub_repository(model, weights)
        if repository is None:
            raise files.missing(
                f"{model} ({weights})",
                "its tag is not on the hub",
                "open_clip.download_pretrained",
                "and pass them with --clip-weights PATH",
            )
        return _first(repository), f"pretrained: {model} ({weights})"
    if not Path(weights).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise WeightsError(
            f"CLIP weights '{weights}' are neither a file nor a tag of {model} (its tags: {tags})."
        )
    return Path(weights), f"file: {files.digest(Path(weights))}"


def hub_repository(model: str, weights: str) -> str | None:
    """Where the weights of an open_clip tag are on the hub; None for a file, and for a tag that is
    not there."""
    import open_clip

    for prefix in ("hf-hub:", clip_models.TRANSFORMERS):
        if model.startswith(prefix):
            return model.removeprefix(prefix)
    if weights not in open_clip.list_pretrained_tags_by_model(model):
        return None
    config = open_clip.pretrained.get_pretrained_cfg(model, weights)
    return str(config.get("hf_hub", "")).strip("/") or None


def _first(repository: str) -> Path:
    """The weights of a hub repository, in the first form that it has."""
    try:
        return files.fetch(repository, _WEIGHT_FILES[0], remedy=OF_CLIP)
    except WeightsError:
        if not files.reachable():
            raise
    return files.fetch(repository, _WEIGHT_FILES[1], remedy=OF_CLIP)
