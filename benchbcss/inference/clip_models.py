"""Models that name regions: short names, and transformers' CLIP behind open_clip's methods."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from benchbcss.errors import PluginError, WeightsError

if TYPE_CHECKING:
    import torch

#: before the hub id, or the folder, of a CLIP of transformers
TRANSFORMERS = "hf:"


@lru_cache(maxsize=1)
def known() -> dict[str, dict[str, str]]:
    """The short names, each with its ``model`` and source."""
    text = (resources.files("benchbcss.inference") / "clip_models.yaml").read_text("utf-8")
    content: dict[str, dict[str, str]] = yaml.safe_load(text)
    return content


def resolve(name: str) -> str:
    """The model that a short name means; any other text as it is. Raises WeightsError for one that
    cannot be run."""
    entry = known().get(name)
    if entry is None:
        return name
    if "refused" in entry:
        raise WeightsError(f"--clip-model {name}: {entry['refused']}")
    return entry["model"]


class TransformersClip:
    """A CLIP of transformers with what ``clip.Clip`` asks of open_clip's."""

    def __init__(self, model: Any, tokenizer: Any, seen: dict[str, Any]) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.visual = SimpleNamespace(preprocess_cfg=seen)
        self.words = int(model.config.text_config.max_position_embeddings)

    def eval(self) -> TransformersClip:
        self.model.eval()
        return self

    def to(self, device: Any) -> TransformersClip:
        self.model.to(device)
        return self

    @property
    def logit_scale(self) -> torch.Tensor:
        scale: torch.Tensor = self.model.logit_scale
        return scale

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixels))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Attention is causal and the end token is what is read: padding after it is not seen."""
        return _pooled(self.model.get_text_features(input_ids=tokens))

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        made = self.tokenizer(
            list(texts),
            return_tensors="pt",
            padding="max_length",
            max_length=self.words,
            truncation=True,
        )
        ids: torch.Tensor = made["input_ids"]
        return ids


def load(source: str) -> tuple[TransformersClip, str]:
    """The CLIP of a folder or hub id, and where it came from. Raises PluginError, WeightsError."""
    try:
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel
    except ImportError as error:
        raise PluginError(
            f"CLIP '{TRANSFORMERS}{source}' needs transformers: pip install 'benchbcss[hf]'"
        ) from error
    from benchbcss.weights import Folder, Hub, Weights
    from benchbcss.weights.hub import OF_CLIP
    from benchbcss.weights.pretrained import encoder, from_pretrained

    given = Weights.parse(source)
    if not isinstance(given, Folder | Hub):
        raise WeightsError(
            f"The CLIP model {TRANSFORMERS}{source} must be a folder of save_pretrained, or "
            f"OWNER/NAME on the hub."
        )
    model, _ = encoder(CLIPModel.from_pretrained, given, remedy=OF_CLIP)
    tokenizer, processor = (
        from_pretrained(kind.from_pretrained, given, remedy=OF_CLIP)
        for kind in (AutoTokenizer, AutoImageProcessor)
    )
    seen = {
        "size": int(model.config.vision_config.image_size),
        "mean": tuple(processor.image_mean),
        "std": tuple(processor.image_std),
    }
    said = f"file: {given.sha256[:16]}" if isinstance(given, Folder) else f"pretrained: {given}"
    return TransformersClip(model, tokenizer, seen), said


def _pooled(output: Any) -> torch.Tensor:
    """Features, which newer versions of transformers give as part of an output."""
    pooled = getattr(output, "pooler_output", output)
    features: torch.Tensor = pooled
    return features
