"""From a trained backend and an ROI to masks at the ROI's own resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchbcss.contract import (
    BOX_CLASS,
    IGNORE,
    Backend,
    Postprocess,
    Prompt,
    Prompting,
    TissuePrompt,
    Views,
)
from benchbcss.errors import BenchError, NonFiniteError, PluginError, explain
from benchbcss.inference.guard import Guard
from benchbcss.inference.postprocess import grid, postprocess
from benchbcss.inference.precision import Autocast
from benchbcss.inference.tiling import checked, predict_tiled
from benchbcss.inference.views import (
    VIEWS,
    enlarge,
    squash,
    squash_labels,
    to_float,
    turn,
    turn_back,
    turn_point,
)

PROMPTS_AT_ONCE = 64


@dataclass
class Predictor:
    """Runs one backend over ROIs. ``squash`` is the view's side in pixels, None for tiles;
    ``prompt_size`` is the side at which the prompted track encodes an ROI.

    ``views``: how the prompted track combines views. ``mean_logits`` averages logits before the
    threshold at 0. ``vote`` thresholds each view and keeps the pixels that more than half of the
    views contain: with four views a tie of two against two is background, since half is no
    majority, as a logit of exactly 0 is background. ``tissue_prompt``: what ``validate`` prompts
    any tissue with.
    """

    backend: Backend
    model: nn.Module
    squash: int | None
    tile: int
    overlap: int
    prompt_size: int
    device: torch.device
    autocast: Autocast = nullcontext
    batch: int = 1
    tta: bool = False
    accumulate: torch.dtype = torch.float32
    views: Views = "mean_logits"
    tissue_prompt: TissuePrompt = "per_class"
    encoder_calls: int = 0
    #: whether ``predict_roi`` may answer 255, no class
    abstains: bool = False
    #: up while the backend's code runs; None where nothing is to be kept from it
    guard: Guard | None = None
    #: the ROI being predicted, for messages
    roi: str = ""

    def semantic(self, image: np.ndarray, *, roi: str = "") -> np.ndarray:
        """uint8 [H, W, 3] -> labels uint8 [H, W]; ground truth is not in reach: the backend is
        given copies, which do not lead back to a file. Raises PluginError."""
        self.roi = roi
        with self._inference():
            view = squash(image, self.squash) if self.squash else image
            if type(self.backend).predict_roi is not Backend.predict_roi:
                with self.autocast():
                    whole = self._ask("predict_roi", np.array(view), like=view)
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
                accumulate=self.accumulate,
            )

    def prompted(
        self,
        image: np.ndarray,
        target: np.ndarray,
        promptings: Sequence[Prompting] = (BOX_CLASS,),
        *,
        roi: str = "",
        process: Postprocess = "none",
    ) -> dict[str, dict[int, np.ndarray]]:
        """``each_prompted`` at once: {prompting's key: {label: mask bool [H, W]}}."""
        return dict(self.each_prompted(image, target, promptings, roi=roi, process=process))

    def each_prompted(
        self,
        image: np.ndarray,
        target: np.ndarray,
        promptings: Sequence[Prompting],
        *,
        roi: str = "",
        process: Postprocess = "none",
    ) -> Iterator[tuple[str, dict[int, np.ndarray]]]:
        """(prompting's key, {label: mask bool [H, W]}) one after the other, for the classes of the
        mean that ``target`` has, from oracle prompts.

        The ROI is encoded once per view, for all promptings together. Where one class has several
        prompts their masks are united. ``process`` is done to each mask. One prompting's masks are
        held at a time: all 24 of a large ROI would take many gigabytes.
        """
        from benchbcss.inference.prompts import all_prompts

        self.roi = roi
        classes = self.backend.task.mean_classes
        shape = (image.shape[0], image.shape[1])
        if not any((target == label).any() for label in classes):
            yield from ((prompting.key, {}) for prompting in promptings)
            return
        encoded = self._encoded(image, promptings)
        made = all_prompts(target, classes, self.prompt_size, promptings, roi)
        for prompting in promptings:
            prompts = made[prompting.strategy, prompting.scope]
            yield prompting.key, self._masks(encoded, prompts, prompting, shape, process)

    def prompted_tissue(
        self,
        image: np.ndarray,
        target: np.ndarray,
        tissue: np.ndarray,
        prompting: Prompting,
        *,
        roi: str = "",
    ) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """What ``prompted`` gives for ``prompting``, and a mask bool [H, W] of any tissue: from one
        prompt of the same strategy on all of ``tissue`` bool [H, W]; empty where there is none."""
        from benchbcss.inference.prompts import make_prompts

        shape = (image.shape[0], image.shape[1])
        encoded = self._encoded(image, [prompting])
        classes, size = self.backend.task.mean_classes, self.prompt_size
        prompts = make_prompts(target, classes, size, prompting, roi)
        whole = Prompting(prompting.strategy, "class", prompting.tta)
        one = make_prompts(_only(tissue), [0], size, whole, f"{roi}|tissue")
        tissue_masks = self._masks(encoded, one, whole, shape, "none")
        return (
            self._masks(encoded, prompts, prompting, shape, "none"),
            tissue_masks.get(0, np.zeros(shape, bool)),
        )

    def _encoded(self, image: np.ndarray, promptings: Sequence[Prompting]) -> dict[str, Any]:
        """The ROI as the backend encodes it, by view: all that some of ``promptings`` uses."""
        views = VIEWS if any(prompting.tta for prompting in promptings) else VIEWS[:1]
        encoded = {}
        with self._inference():
            small = to_float(squash(image, self.prompt_size))[None].to(self.device)
            for view in views:
                with self.autocast():
                    encoded[view] = self._ask("encode", turn(small, view))
                self.encoder_calls += 1
        return encoded

    def _masks(
        self,
        encoded: dict[str, Any],
        prompts: list[Prompt],
        prompting: Prompting,
        shape: tuple[int, int],
        process: Postprocess,
    ) -> dict[int, np.ndarray]:
        """{label: mask bool ``shape``}, views combined and ``process`` done."""
        used = VIEWS if prompting.tta else VIEWS[:1]
        ballots = [used] if self.views == "mean_logits" else [(view,) for view in used]
        votes: dict[int, torch.Tensor] = {}
        with self._inference():
            for views in ballots:
                for label, logits in self._by_class(encoded, prompts, views).items():
                    mask = (enlarge(logits[None], grid(process, shape))[0] > 0).to(torch.uint8)
                    votes[label] = votes[label] + mask if label in votes else mask
            return {
                label: postprocess((2 * count > len(ballots)).cpu().numpy(), process, shape)
                for label, count in votes.items()
            }

    def _by_class(
        self, encoded: dict[str, Any], prompts: list[Prompt], views: Sequence[str]
    ) -> dict[int, torch.Tensor]:
        """Mean logits over views, the highest over a class's prompts: {label: [s, s]}."""
        united: dict[int, torch.Tensor] = {}
        for first in range(0, len(prompts), PROMPTS_AT_ONCE):
            some = prompts[first : first + PROMPTS_AT_ONCE]
            total: torch.Tensor | None = None
            for view in views:
                turned = [_turned(prompt, self.prompt_size, view) for prompt in some]
                with self.autocast():
                    logits = self._ask("predict_prompted", encoded[view], turned)
                _check_prompted(logits, len(some))
                logits = turn_back(logits.float(), view)
                total = logits.clone() if total is None else total + logits
            assert total is not None
            for prompt, mean_logits in zip(some, total / len(views), strict=True):
                old = united.get(prompt.class_index)
                united[prompt.class_index] = (
                    mean_logits if old is None else torch.maximum(old, mean_logits)
                )
        return united

    def _ask(self, method: str, given: Any, *rest: Any, like: np.ndarray | None = None) -> Any:
        """The backend's answer, as a plain tensor or array where it is one. ``like`` is equal to
        ``given`` where that is an array. Raises PluginError where the backend raised anything,
        reached for what it must not see, or changed what it was given."""
        kept = given.clone() if isinstance(given, torch.Tensor) else like
        with self.guard.up(f"running {method}") if self.guard else nullcontext():
            try:
                answer = getattr(self.backend, method)(self.model, given, *rest)
            except BenchError:
                raise
            except Exception as error:
                code = type(self.backend).__module__
                raise PluginError(f"{method} raised {explain(error, code)}") from error
            if isinstance(answer, torch.Tensor):  # a subclass would run the plugin's code later
                answer = answer.as_subclass(torch.Tensor)
            elif isinstance(answer, np.ndarray):
                answer = np.asarray(answer)
        if isinstance(kept, torch.Tensor):
            same = torch.equal(kept, given)
        else:
            same = kept is None or np.array_equal(kept, given)
        if not same:
            raise PluginError(f"{method} changed its input in place; it must work on a copy")
        return answer

    def _predict(self, tensor: torch.Tensor) -> torch.Tensor:
        if not self.tta:
            with self.autocast():
                return _tensor("predict", self._ask("predict", tensor))
        total: torch.Tensor | None = None
        for view in VIEWS:
            with self.autocast():
                logits = _tensor("predict", self._ask("predict", turn(tensor, view)))
            logits = turn_back(logits.float(), view)
            # a copy, since the next answer may lie in the same memory
            total = logits.clone() if total is None else total + logits
        assert total is not None
        return total / len(VIEWS)

    def _inference(self) -> Any:
        self.model.eval()
        return torch.inference_mode()

    def _whole(self, output: np.ndarray, view: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """A backend's own whole-ROI output, checked and brought to the ROI's size."""
        height, width = shape[:2]
        if not isinstance(output, np.ndarray):
            raise PluginError(
                f"predict_roi returned {_kind(output)}, expected a numpy array uint8 "
                f"{view.shape[:2]}"
            )
        if output.shape != view.shape[:2] or output.dtype != np.uint8:
            raise PluginError(
                f"predict_roi returned {output.dtype} {output.shape}, expected uint8 "
                f"{view.shape[:2]}"
            )
        named = output[output != IGNORE] if self.abstains else output
        if named.size and int(named.max()) >= self.backend.task.num_classes:
            raise PluginError(
                f"predict_roi returned label {int(named.max())}; labels are 0.."
                f"{self.backend.task.num_classes - 1}"
            )
        if output.shape == (height, width):
            return output.copy()  # the backend may write the next answer there
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


def _tensor(method: str, answer: Any) -> torch.Tensor:
    if not isinstance(answer, torch.Tensor):
        raise PluginError(f"{method} returned {_kind(answer)}, expected a tensor")
    return answer


def _kind(answer: Any) -> str:
    return "nothing" if answer is None else f"a {type(answer).__name__}"


def _check_prompted(logits: torch.Tensor, count: int) -> None:
    _tensor("predict_prompted", logits)
    if not logits.is_floating_point():
        raise PluginError(f"predict_prompted returned {logits.dtype}, expected logits as float")
    if logits.ndim != 3 or len(logits) != count:
        raise PluginError(
            f"predict_prompted returned shape {tuple(logits.shape)} for {count} "
            f"prompts, expected [{count}, S, S]"
        )
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError("predict_prompted returned NaN or infinite logits")


def _only(mask: np.ndarray) -> np.ndarray:
    """A target uint8 [H, W] of one class, 0, where ``mask`` is, and nothing else."""
    return np.where(mask, 0, IGNORE).astype(np.uint8)


def _turned(prompt: Prompt, size: float, view: str) -> Prompt:
    """The same hint where ``view`` shows it."""
    box = None
    if prompt.box is not None:
        x, y = zip(
            turn_point(*prompt.box[:2], size, view),
            turn_point(*prompt.box[2:], size, view),
            strict=True,
        )
        box = (min(x), min(y), max(x), max(y))
    points = tuple(turn_point(x, y, size, view) for x, y in prompt.points)
    return Prompt(prompt.class_index, box, points, prompt.point_labels)
