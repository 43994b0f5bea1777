"""CLIP names regions of an image: crops, and the text or the classifier that names them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor, nn

from benchbcss.inference.clip import Clip, crop
from benchbcss.protocols import Labeller, Names, Scene
from benchbcss.suites import ClipSpec


class ClipNames:
    """Names parts of ``image`` uint8 [S, S, 3] by CLIP on crops: by the nearest of each class's
    ``prompts``, or by a ``probe`` on image embeddings. The grid has ``side`` x ``side`` cells."""

    def __init__(
        self,
        clip: Clip,
        prompts: list[list[str]],
        image: np.ndarray,
        settings: ClipSpec,
        side: int,
        probe: nn.Module | None = None,
    ) -> None:
        self.clip, self.prompts, self.image = clip, prompts, image
        self.settings, self.side, self.probe = settings, side, probe

    def _logits(self, crops: Sequence[np.ndarray]) -> Tensor:
        if self.probe is None:
            return self.clip.logits(crops, self.prompts)
        logits: Tensor = self.probe(self.clip.images(crops))
        return logits

    def cells(self) -> Tensor:
        """Logits [K, side, side]."""
        logits = self._logits(grid(self.image, self.side))
        return logits.T.reshape(-1, self.side, self.side)

    def regions(self, masks: Sequence[Tensor]) -> list[int]:
        """A label for each non-empty region, bool [S, S]."""
        crops = [crop(self.image, mask.cpu().numpy(), self.settings) for mask in masks]
        if not crops:
            return []
        chosen = self._logits([piece for piece in crops if piece is not None]).argmax(1)
        return [int(label) for label in chosen]


class ClipText(Labeller):
    """``clip``: the class whose prompts CLIP finds nearest. Learns nothing."""

    def unavailable(self) -> str | None:
        problem: str | None = self.context.clip.problem(self.classes)
        return f"needs CLIP: {problem}" if problem else None

    def open(self, scene: Scene) -> Names:
        clip = self.context.clip
        texts, side = clip.prompts(self.classes), self.settings["clip_cells"]
        return ClipNames(clip.load(), texts, scene.image, clip.settings, side)


def grid(image: np.ndarray, side: int) -> list[np.ndarray]:
    """``side`` x ``side`` tiles of an image [S, S, ...], row by row."""
    edges = np.linspace(0, len(image), side + 1).round().astype(int)
    pairs = list(pairwise(edges))
    return [image[top:bottom, left:right] for top, bottom in pairs for left, right in pairs]
