"""What a track is. Light: numpy, torch and pyarrow are imported where they are used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from benchbcss.contract import Prompting
from benchbcss.contract import Track as TrackName

if TYPE_CHECKING:
    import numpy as np

    from benchbcss.contract import Backend
    from benchbcss.data.dataset import Roi
    from benchbcss.data.labels import LabelMap
    from benchbcss.inference.clip import Source
    from benchbcss.inference.predictor import Predictor
    from benchbcss.progress import Progress
    from benchbcss.results.schema import TrackResult
    from benchbcss.scoring.metrics import Triple
    from benchbcss.suites import Suite, Tile

Counts = TypeVar("Counts")


@dataclass(frozen=True)
class Frame:
    """What the rows and columns of a run's count tables stand for: ROIs with the site of each,
    and the classes by label. ``promptings`` has the headline first. ``abstaining``: predictions may
    hold 255, which is no class, as those made elsewhere do, and those of a backend that says so."""

    suite: Suite
    labels: LabelMap
    rois: tuple[str, ...]
    sites: tuple[str, ...]
    promptings: tuple[Prompting, ...] = ()
    abstaining: bool = False


@dataclass(frozen=True)
class Validation:
    """A validation's outcome: mean per-class Dice (None if undefined), Dice per class, and the
    Dice of any tissue against the rest, which misleads and is computed beside it to show so."""

    mean: float | None
    per_class: dict[str, float | None]
    any_tissue: float | None = None

    def monitored(self, monitor: str) -> float | None:
        """The value that picks the best checkpoint under a recipe's ``monitor``."""
        return self.any_tissue if monitor == "any_tissue_dice" else self.mean

    def record(self, monitor: str) -> dict[str, Any]:
        """As plain data, by the names used in ``epochs.jsonl``."""
        return {
            "val_mean_dice": self.mean,
            "val_dice": self.per_class,
            "val_any_tissue_dice": self.any_tissue,
            "val_monitored": self.monitored(monitor),
        }


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard: its title, and a cell from a track's result."""

    title: str
    cell: Callable[[TrackResult], str]


class Track(ABC, Generic[Counts]):
    """One way to ask a model for a segmentation, from prediction to leaderboard column."""

    name: TrackName
    #: estimands, the one that is ranked first
    estimands: tuple[str, ...]
    #: what a backend must implement for this track beyond what its base class does
    required: tuple[str, ...] = ()
    #: whether it encodes the whole ROI at once, whatever the suite's protocol
    whole_roi: bool = False
    #: whether a labeller names its regions, so that it has a CLIP accuracy
    labels_regions: bool = False
    #: what its numbers rest on, in words, for those who read a board
    caveat: str

    # -- in a worker -------------------------------------------------------------------------------

    def problem(
        self, backend: Backend, promptings: Sequence[Prompting], headline: str
    ) -> str | None:
        """Why ``backend`` cannot be measured here, or None."""
        return backend.unavailable(self.name)

    @abstractmethod
    def predict(
        self, predictor: Predictor, roi: Roi, frame: Frame
    ) -> Iterator[tuple[str, np.ndarray]]:
        """(key, picture uint8 [*, W]) of everything that is stored for ``roi``; key '' where the
        track has one picture per ROI."""

    @abstractmethod
    def passes(
        self,
        shape: tuple[int, int],
        squash: int | None,
        tile: Tile,
        tta: bool,
        prompting: Prompting,
    ) -> int:
        """Forward passes of the network that ``count`` takes for an ROI of ``shape`` (H, W):
        ``squash``, ``tile`` and ``tta`` as the predictor has them. What decodes prompts is left
        out, as it is where a sample that is trained on counts as one pass forward."""

    @abstractmethod
    def count(
        self, predictor: Predictor, roi: Roi, labels: LabelMap, prompting: Prompting
    ) -> Mapping[str, np.ndarray]:
        """The integers that a validation follows from, of one whole ROI, by name."""

    @abstractmethod
    def validation(
        self, counts: Sequence[Mapping[str, np.ndarray]], labels: LabelMap
    ) -> Validation:
        """Mean per-class Dice by the ``per_roi`` estimand, from what ``count`` returned for each
        ROI; their order is that of the sums, and so of a last digit."""

    def validate(
        self,
        predictor: Predictor,
        rois: Sequence[Roi],
        labels: LabelMap,
        prompting: Prompting,
    ) -> Validation:
        """``validation`` of what ``count`` returns for ``rois``."""
        counts = [self.count(predictor, roi, labels, prompting) for roi in rois]
        return self.validation(counts, labels)

    @abstractmethod
    def floor(
        self, rois: Sequence[Roi], labels: LabelMap, class_pixels: Sequence[int]
    ) -> tuple[float | None, str]:
        """What an answer that learnt nothing scores in ``validate``, and its name;
        ``class_pixels`` counts training pixels."""

    @abstractmethod
    def answer(self, predictor: Predictor, image: np.ndarray, target: np.ndarray) -> np.ndarray:
        """One prediction as an array, whatever its kind: for checks of determinism and access."""

    def name_regions(
        self,
        source: Source,
        frame: Frame,
        rois: Mapping[str, Roi],
        run_dir: Path,
        stage: Progress,
    ) -> dict[str, Any] | None:
        """After prediction: let the labeller name what was found; the facts of how, or None."""
        return None

    # -- on disk -----------------------------------------------------------------------------------

    def folder(self, run_dir: Path, key: str = "") -> Path:
        """Where the pictures of ``key`` lie."""
        base = run_dir / "predictions" / self.name
        return base / key if key else base

    @abstractmethod
    def picture(self, array: np.ndarray) -> bytes:
        """The PNG of what ``predict`` yields."""

    # -- scoring: predictions and masks -> counts -> result ----------------------------------------

    @abstractmethod
    def files(self, frame: Frame, roi: str, run_dir: Path) -> list[Path]:
        """The stored pictures that the score of ``roi`` follows from."""

    @abstractmethod
    def measure(self, frame: Frame, roi: Roi, run_dir: Path) -> dict[str, np.ndarray]:
        """Compare the stored predictions of one ROI with its mask: arrays by name. Raises DataError
        naming the file."""

    @abstractmethod
    def gather(self, frame: Frame, parts: Sequence[Mapping[str, np.ndarray]]) -> Counts:
        """The counts of all ROIs from what ``measure`` returned for each, in the frame's order."""

    @abstractmethod
    def write(self, counts: Counts, frame: Frame, run_dir: Path) -> None:
        """Store the count tables (parquet)."""

    @abstractmethod
    def read(self, frame: Frame, run_dir: Path) -> Counts:
        """The inverse of ``write``."""

    @abstractmethod
    def tables(self, counts: Counts, frame: Frame) -> tuple[Sequence[str], dict[str, np.ndarray]]:
        """What registered metrics are computed from: the classes, and counts by the track that a
        metric is declared for (see ``protocols.Compute``); 'both' stands for int64 [ROI, C, 4]."""

    @abstractmethod
    def triple(self, run_dir: Path, scores: TrackResult) -> tuple[tuple[str, ...], Triple]:
        """From the stored tables alone: ROIs, and hit, true and predicted pixels int64 [ROI, C] of
        the classes in the mean; tables of every edition are read. Raises DataError."""

    @abstractmethod
    def result(self, counts: Counts, frame: Frame, run_dir: Path, facts: Facts) -> TrackResult:
        """What the counts say: nothing but them, and how regions were named, goes in."""

    # -- on a board --------------------------------------------------------------------------------

    @abstractmethod
    def columns(self, results: Sequence[TrackResult]) -> list[Column]:
        """Columns after the mean and its interval, for rows that compare."""


@dataclass(frozen=True)
class Facts:
    """What a track's result says beside its counts: how the ROI was seen, and what the labeller
    of regions noted."""

    view: str
    clip: dict[str, Any] = field(default_factory=dict)


def number(value: float | None, digits: int = 3) -> str:
    """A cell: '-' where there is no value."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.00
