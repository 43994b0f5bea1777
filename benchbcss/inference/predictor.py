"""From a trained backend and an ROI to masks at the ROI's own resolution."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchbcss.contract import Backend
from benchbcss.errors import PluginError
from benchbcss.inference.prompts import box_prompts
from benchbcss.inference.tiling import checked, predict_tiled
from benchbcss.inference.views import enlarge, squash, squash_labels, to_float


@dataclass
class Predictor:
    """Runs one backend over ROIs. ``squash`` is the view's side in pixels, None for tiles;
    ``prompt_size`` is the side at which the prompted track encodes an ROI."""

    backend: Backend
    model: nn.Module
    squash: int | None
    tile: int
    overlap: int
    prompt_size: int
    device: torch.device
    autocast: Any = nullcontext
    batch: int = 1
    encoder_calls: int = 0

    def semantic(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> labels uint8 [H, W]; ground truth is not in reach."""
        with self._inference():
            view = squash(image, self.squash) if self.squash else image
            whole = self.backend.predict_roi(self.model, view)
            if whole is not None:
                return self._whole(whole, view, image.shape[:2])
            if self.squash:
                tensor = to_float(view)[None].to(self.device)
                logits = checked(
                    self._predict(tensor), 1, self.backend.task.num_classes, self.squash
                )
                return _largest(logits[0], image.shape[:2])
            return predict_tiled(
                self._predict,
                image,
                self.backend.task.num_classes,
                tile=self.tile,
                overlap=self.overlap,
                batch=self.batch,
                device=self.device,
            )

    def prompted(self, image: np.ndarray, target: np.ndarray) -> dict[int, np.ndarray]:
        """Masks bool [H, W] for each class of the mean that ``target`` has, from oracle boxes."""
        prompts = box_prompts(target, self.backend.task.mean_classes, self.prompt_size)
        if not prompts:
            return {}
        with self._inference():
            small = squash(image, self.prompt_size)
            encoded = self.backend.encode(self.model, to_float(small)[None].to(self.device))
            self.encoder_calls += 1
            logits = self.backend.predict_prompted(self.model, encoded, prompts)
            if logits.ndim != 3 or len(logits) != len(prompts):
                raise PluginError(
                    f"predict_prompted returned shape {tuple(logits.shape)} for {len(prompts)} "
                    f"prompts, expected [{len(prompts)}, S, S]"
                )
            if not bool(torch.isfinite(logits).all()):
                raise PluginError("predict_prompted returned NaN or infinite logits")
            shape = (image.shape[0], image.shape[1])
            return {
                prompt.class_index: (enlarge(each[None], shape)[0] > 0).cpu().numpy()
                for prompt, each in zip(prompts, logits.float(), strict=True)
            }

    def _predict(self, tensor: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            return self.backend.predict(self.model, tensor)

    def _inference(self) -> Any:
        self.model.eval()
        return torch.inference_mode()

    def _whole(self, output: np.ndarray, view: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """A backend's own whole-ROI output, checked and brought to the ROI's size."""
        height, width = shape[:2]
        if output.shape != view.shape[:2] or output.dtype != np.uint8:
            raise PluginError(
                f"predict_roi returned {output.dtype} {output.shape}, expected uint8 "
                f"{view.shape[:2]}"
            )
        if int(output.max()) >= self.backend.task.num_classes:
            raise PluginError(
                f"predict_roi returned label {int(output.max())}; labels are 0.."
                f"{self.backend.task.num_classes - 1}"
            )
        if output.shape == (height, width):
            return output
        return squash_labels(output, (height, width))


def _largest(logits: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """argmax of logits [K, h, w] after enlarging, one class in memory at a time."""
    size = (shape[0], shape[1])
    best = enlarge(logits[:1], size)[0].clone()
    labels = torch.zeros(size, dtype=torch.uint8, device=logits.device)
    for index in range(1, len(logits)):
        score = enlarge(logits[index : index + 1], size)[0]
        higher = score > best
        labels[higher] = index
        best = torch.where(higher, score, best)
    return labels.cpu().numpy()
