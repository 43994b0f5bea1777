"""What a backend is: a description that costs nothing to read, and a small class.

This module imports neither torch nor numpy, so that plugins can describe themselves cheaply.

Most authors write ``build`` and ``loss`` and are done::

    class MyNet(Backend):
        def build(self) -> nn.Module: ...
        def loss(self, model, batch) -> dict[str, Tensor]: ...

The harness owns reading, splits, augmentation, sampling, the optimiser loop, validation,
checkpoints, tiling, prompts and scoring. What a backend learns must live in the ``state_dict``
of the module returned by ``build`` (parameters or buffers): that is what is checkpointed.

What a backend is given while it predicts is its own to read, not to change in place. The working
directory and torch's defaults are the process's: what is left changed is put back. Files of the
data, the tile store and the workspace are out of its reach, and so are processes and connections;
its own files are read in ``build``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from torch import Tensor, nn

    from benchbcss.weights import Provenance, Weights

Track = Literal["semantic", "prompted"]
TRACKS: tuple[Track, ...] = get_args(Track)
Strategy = Literal["centroid", "points5", "box", "box_neg", "box_neg_outer"]
Scope = Literal["largest", "class", "components"]
#: those a suite uses that names none; box_neg_outer, the brief's, has to be asked for
STRATEGIES: tuple[Strategy, ...] = ("centroid", "points5", "box", "box_neg")
ALL_STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
SCOPES: tuple[Scope, ...] = get_args(Scope)
#: of a prompted mask; what combines the masks of several views; what any-tissue Dice prompts with
Postprocess = Literal["none", "largest", "close_fill"]
Views = Literal["mean_logits", "vote"]
TissuePrompt = Literal["per_class", "one"]
PROMPT_VERSION = 2  # of how prompts are made; results of different versions do not compare
#: label of a pixel that neither trains nor counts (outside the ROI, excluded, undetermined)
IGNORE = 255
IGNORE_INDEX = IGNORE  # the name plugins were first given
#: um per pixel that an image of tissue can have; other numbers are nanometres or millimetres
FINEST, COARSEST = 0.01, 100.0


@dataclass(frozen=True)
class BackendInfo:
    """A backend's description, readable without importing its code.

    ``recipe`` names a YAML file as ``"package:file.yaml"``. ``requires`` lists the importable
    modules it needs; ``extra`` is the pip extra of its distribution that installs them.
    ``trains`` is False for models used as they come (zero-shot). ``abstains``: its ``predict_roi``
    may answer 255, no class, where it names none; such a pixel counts as missed by its own class.
    ``open_settings``: mappings of its recipe, such as ``model.arguments``, that ``--set`` may add
    keys to, since a library says what there is; ``predict.phrases.CLASS`` is one whose keys are the
    suite's classes. In all others an unknown key is refused.
    """

    name: str
    summary: str
    tracks: frozenset[Track]
    recipe: str
    requires: tuple[str, ...] = ()
    extra: str | None = None
    trains: bool = True
    floor: bool = False
    abstains: bool = False
    open_settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field_name in ("tracks", "requires", "open_settings"):
            if isinstance(value := getattr(self, field_name), str):
                raise TypeError(
                    f"backend '{self.name}': {field_name} must hold names, such as ('{value}',), "
                    f"and is '{value}'"
                )
        object.__setattr__(self, "tracks", frozenset(self.tracks))
        if self.tracks - set(TRACKS) or not self.tracks:
            raise ValueError(
                f"backend '{self.name}': tracks must be a non-empty subset of "
                f"{', '.join(TRACKS)}, got {sorted(self.tracks)}"
            )


@dataclass(frozen=True)
class Task:
    """What is to be segmented.

    ``class_names[i]`` is label ``i``; ``mean_classes`` are the labels that count in the mean
    (the named classes); ``tile`` is the training tile's side in pixels; ``mpp`` um per pixel.
    """

    class_names: tuple[str, ...]
    mean_classes: tuple[int, ...]
    mpp: float
    tile: int
    ignore_index: int = IGNORE

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Prompt:
    """A hint for one mask, in pixels (x, y) of the image given to ``encode``.

    ``box`` is (x0, y0, x1, y1) or None; ``points`` are (x, y) with ``point_labels`` 1 for
    foreground and 0 for background.
    """

    class_index: int
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prompting:
    """One way to prompt: what the hint looks like, which part of the class it points at, and
    whether four views are averaged. ``key`` names it in files, records and tables."""

    strategy: Strategy
    scope: Scope
    tta: bool = False

    @property
    def key(self) -> str:
        return f"{self.strategy}-{self.scope}" + ("-tta" if self.tta else "")

    @classmethod
    def parse(cls, key: str) -> Prompting:
        """The inverse of ``key``. Raises ValueError."""
        strategy, _, rest = key.partition("-")
        scope, _, tail = rest.partition("-")
        if strategy not in ALL_STRATEGIES or scope not in SCOPES or tail not in ("", "tta"):
            raise ValueError(f"'{key}' is not a prompting such as box-class or box_neg-largest-tta")
        return cls(strategy, scope, bool(tail))  # type: ignore[arg-type]


#: what validation falls back on, and what checks ask for first
BOX_CLASS = Prompting("box", "class")


@dataclass
class Batch:
    """A training batch: ``image`` float32 [B, 3, H, W] in [0, 1] RGB, ``target`` int64 [B, H, W]
    with labels 0..K-1 and 255 where ignored, ``names`` the ROI of each sample, ``step`` the
    optimiser step. At each, the harness seeds torch, numpy's global generator and Python's.
    ``progress`` is the share of training that is done before it, in [0, 1]: of steps, or of a time
    budget, whichever is further. Schedules that follow it fit every budget."""

    image: Tensor
    target: Tensor
    names: list[str]
    step: int
    progress: float = 0.0


@dataclass
class Context:
    """What a backend may know of its run. ``weights`` is the parsed ``--weights``, which
    ``benchbcss.weights.loading.load_into`` loads and then says in ``provenance`` what came of it;
    ``class_pixels`` counts non-ignored training pixels per class (int, length K);
    ``strict_weights``: missing weights are an error rather than a random start. ``clip`` is the
    suite's ``benchbcss.inference.clip.Source``; ``evaluating``: weights are scored, not trained.
    ``remarks``: plain data on the ROI being predicted, stored with it (see ``Backend.summary``).
    ``embeddings``: what frozen encoders made of images, kept on disk and shared by runs, a
    ``benchbcss.inference.embeddings.Embeddings``; None where there is no workspace.

    For a ``fit`` that leaves training to another program: ``folder`` is the place in the run's own
    for its files, which is not made yet and which an interrupted run finds as it was; None where
    there is no run. ``peak_gpu_bytes`` is what that program says of its memory on the GPU, which
    the harness cannot see from here."""

    seed: int
    device: Any
    weights: Weights
    strict_weights: bool
    class_pixels: list[int]
    notes: dict[str, Any] = field(default_factory=dict)
    clip: Any = None
    evaluating: bool = False
    provenance: Provenance | None = None
    remarks: dict[str, Any] = field(default_factory=dict)
    embeddings: Any = None
    folder: Path | None = None
    peak_gpu_bytes: int | None = None


class Backend:
    """Base class of all backends; override what your model needs.

    Attributes: ``task``, ``recipe`` (the resolved recipe as plain data), ``context``.
    Write facts worth keeping to ``self.context.notes``, as plain data (what JSON has no word for is
    kept as text); those of single predictions (fallback
    shares, say) to ``self.context.remarks``, since a run that was interrupted goes on with another
    object, after the last ROI that it predicted.
    """

    #: how validation scores this backend while training
    validation: Track = "semantic"
    #: prompting strategies it can use; None means all of them
    strategies: tuple[Strategy, ...] | None = None
    #: buffers (a name, or the module they are in) that no weights need to hold: the recipe sets
    #: them, or they are fitted after loading. Parameters always come from the weights.
    made_here: tuple[str, ...] = ()

    @classmethod
    def automatic_weights(cls, recipe: dict[str, Any]) -> Weights | None:
        """Where ``--weights auto`` leads under ``recipe``, usually a ``weights.Hub``; None where a
        start is random, or where nothing is said. Asked by ``benchbcss doctor``; nothing is built.
        """
        return None

    def __init__(self, task: Task, recipe: dict[str, Any], context: Context) -> None:
        self.task = task
        self.recipe = recipe
        self.context = context

    def build(self) -> nn.Module:
        """Return the network for ``task.num_classes`` classes, weights loaded by
        ``benchbcss.weights.loading.load_into``."""
        raise NotImplementedError(f"{type(self).__name__} must implement build()")

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms; the harness sums and logs them. Ignored pixels must not matter."""
        raise NotImplementedError(f"{type(self).__name__} must implement loss()")

    def parameter_groups(self, model: nn.Module) -> dict[str, list[torch.nn.Parameter]]:
        """Disjoint named groups; a recipe's ``unfreeze`` stages address them by name. What is in
        none of them is not trained."""
        return {"all": list(model.parameters())}

    def recomputable(self, model: nn.Module) -> Sequence[nn.Module]:
        """Blocks of the network, none inside another, that a recipe's
        ``train.gradient_checkpointing`` computes again in the backward pass. Each is called as a
        module, and what it answers depends on its arguments, its weights and torch's random
        numbers alone. The default, none, refuses the setting."""
        return ()

    def unavailable(self, track: Track) -> str | None:
        """Why this run cannot do ``track`` (weights of a labeller are missing, say), or None.

        Asked after ``build``; the record then says ``not measured`` with the reason.
        """
        return None

    def fit(self, model: nn.Module, samples: Any) -> bool:
        """Replace the harness's training loop; return True when it did (the record says so).

        ``samples`` is a ``TrainingData``: iterate ``samples.rois()`` for (name, image uint8
        [H, W, 3], target uint8 [H, W]) of the training split only; ``samples.validation_rois()``
        are those of the validation split. What takes long keeps its state in ``context.folder``:
        an interrupted run calls this again.
        """
        return False

    def after_training(self, model: nn.Module, samples: Any) -> None:
        """Fit what follows the training loop (a probe, say) into buffers of ``model``."""

    def summary(self, remarks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Notes on all predictions, from the ``context.remarks`` of each ROI that has any."""
        return {}

    def predict(self, model: nn.Module, image: Tensor) -> Tensor:
        """Tiles float32 [B, 3, H, W] in [0, 1] -> logits float [B, K, H, W]."""
        logits: Tensor = model(image)
        return logits

    def predict_roi(self, model: nn.Module, image: np.ndarray) -> np.ndarray | None:
        """A whole ROI uint8 [H, W, 3] -> label map uint8 [H, W], for models that do not tile.

        The default None makes the harness tile, blend and stitch ``predict``.
        """
        return None

    def encode(self, model: nn.Module, image: Tensor) -> Any:
        """Prompted track: float32 [1, 3, S, S] in [0, 1] -> anything ``predict_prompted`` takes.

        Called once per ROI and view, for all views before any mask is predicted: what masks need is
        in what it returns, not in ``self``. S is the protocol's squash size.
        """
        raise NotImplementedError(f"{type(self).__name__} is not promptable")

    def predict_prompted(self, model: nn.Module, encoded: Any, prompts: list[Prompt]) -> Tensor:
        """Mask logits float [len(prompts), S, S] (or lower resolution); thresholded at 0."""
        raise NotImplementedError(f"{type(self).__name__} is not promptable")
