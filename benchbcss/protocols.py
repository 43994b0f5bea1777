"""What a plugin may add besides backends: light descriptions, and what the code behind them does.

Imports neither torch nor numpy, so that plugins can describe themselves cheaply. Data layouts are
in ``benchbcss.data.reader``, executors in ``benchbcss.runs.executors``, backends in
``benchbcss.contract``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from benchbcss.contract import Track

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from benchbcss.board.model import Board
    from benchbcss.contract import Context
    from benchbcss.events import EpochEnded, RunEnded, RunFailed, RunStarted

CORE = "core"  # the name under which what ships with the core is listed


@dataclass(frozen=True)
class About:
    """What is known without importing any code: a ``summary`` of one line, the importable modules
    that it ``requires``, and the pip ``extra`` of its distribution that installs them."""

    summary: str = ""
    requires: tuple[str, ...] = ()
    extra: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.requires, str):
            raise TypeError(f"requires must hold names, such as ('{self.requires}',)")


# -- metrics ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MetricInfo(About):
    """A metric per class, as registered::

        register(
            MetricInfo(name="miss_rate", label="missed", direction="lower", summary="FN / truth"),
            "my_metrics:miss_rate",
        )

    ``track``: 'semantic', 'prompted', or 'both'; it decides what ``compute`` is given (see
    ``Compute``). ``direction``: whether 'higher' or 'lower' is better, so which way a criterion
    ``name.class`` is read. ``label`` heads its column (default: the name).
    """

    name: str = ""
    track: Track | Literal["both"] = "both"
    direction: Literal["higher", "lower"] = "higher"
    label: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.track not in ("semantic", "prompted", "both"):
            raise ValueError(f"metric '{self.name}': track must be semantic, prompted or both")
        if self.direction not in ("higher", "lower"):
            raise ValueError(f"metric '{self.name}': direction must be higher or lower")
        object.__setattr__(self, "label", self.label or self.name)

    def measures(self, track: Track) -> bool:
        """Whether ``track`` has it."""
        return self.track in ("both", track)


class Compute(Protocol):
    """A metric's code: a pure function of counts, each ROI by itself::

        def miss_rate(counts):
            tp, fp, fn, tn = np.moveaxis(counts, -1, 0)
            return np.divide(fn, tp + fn, out=np.full(fn.shape, np.nan), where=tp + fn > 0)

    ``counts`` of a metric of the track 'prompted' or 'both': int64 [ROI, C, 4], pixels TP, FP, FN
    and TN of each class against the rest. Of 'semantic': int64 [ROI, K, K], pixels by true and
    predicted class; [ROI, K, K + 1] where label maps made elsewhere give pixels no class, which the
    last column counts. Returns float64 [ROI, C] (or [ROI, K]), NaN where it is undefined.

    The harness does the rest: ``pooled`` is ``compute`` of the counts summed over ROIs,
    ``per_roi`` the mean of what is defined.
    """

    def __call__(self, counts: np.ndarray, /) -> np.ndarray: ...


# -- executors ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExecutorInfo(About):
    """Where runs are carried out. ``options`` is the help of ``--NAME KEY=VALUE``, which commands
    then take and hand to the executor; without it there is no such option."""

    options: str = ""


# -- exporters ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExporterInfo(About):
    """A format of the leaderboard; ``extension`` (".csv") chooses it for ``--output FILE.csv``."""

    extension: str = ".txt"


class Write(Protocol):
    """An exporter's code: writes a whole board, as text::

    def write(board, stream):
        for table in board.tables:
            for row in table.rows:
                stream.write(f"{row.backend}\\t{row.scores.headline.per_roi.mean}\\n")
    """

    def __call__(self, board: Board, stream: TextIO, /) -> None: ...


# -- trackers -----------------------------------------------------------------------------------


class Tracker:
    """Logs a run somewhere, by ``--set tracker=NAME``; made without arguments, once per run::

        class Lines(Tracker):
            def epoch_ended(self, event):
                with open(event.run_dir / "lines.txt", "a") as handle:
                    handle.write(f"{event.record['step']} {event.record['loss']['loss']}\\n")

    A tracker that cannot start stops the run before it trains. One that raises later is named in
    the log and told nothing more; the run goes on. A resumed run starts its tracker again.
    """

    def run_started(self, event: RunStarted) -> None:
        """Before the first training step of this worker."""

    def epoch_ended(self, event: EpochEnded) -> None:
        """After each epoch."""

    def run_ended(self, event: RunEnded) -> None:
        """After the result is written."""

    def run_failed(self, event: RunFailed) -> None:
        """After an error."""


# -- labellers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabellerInfo(About):
    """``learns``: it is fitted on training ROIs, so it is not for backends that never train."""

    learns: bool = False


@dataclass(frozen=True)
class Scene:
    """One image whose regions are to be named: ``image`` uint8 [S, S, 3]; ``features()`` computes
    the backend's own embeddings of it, float32 [D, h, w]; ``learned`` is what ``Labeller.module``
    made, as the network at hand holds it, or None."""

    image: np.ndarray
    features: Callable[[], Tensor]
    learned: nn.Module | None = None


class Names(Protocol):
    """Names of the parts of one image."""

    def cells(self) -> Tensor:
        """Logits float32 [K, h, w] of a grid over the image, for what no region covers."""
        ...

    def regions(self, masks: Sequence[Tensor]) -> list[int]:
        """A label 0..K-1 for each non-empty region, bool [S, S]."""
        ...


class Labeller:
    """Names regions for a backend that proposes masks (``predict.labeller`` of its recipe)::

        class Dark(Labeller):
            def open(self, scene):
                return DarkNames(scene.image, len(self.classes))

    Made once per run: ``classes`` are the K class names, ``settings`` the recipe's ``predict``
    section, ``context.clip`` the suite's CLIP.
    """

    def __init__(self, classes: Sequence[str], context: Context, settings: dict[str, Any]) -> None:
        self.classes, self.context, self.settings = tuple(classes), context, settings

    def unavailable(self) -> str | None:
        """Why it cannot work here ('needs CLIP: ...'), or None."""
        return None

    def module(self, features: int) -> nn.Module | None:
        """What it will learn, in buffers, so that checkpoints keep it; ``features`` is D."""
        return None

    def fit(
        self, learned: nn.Module, scenes: Iterable[tuple[Scene, np.ndarray]], seed: int
    ) -> dict[str, Any]:
        """Learn into ``learned`` from training ROIs and their targets uint8 [S, S] (255: ignored).
        Returns facts for the record. Called where it is registered with ``learns=True``."""
        raise NotImplementedError(f"{type(self).__name__} learns and must implement fit()")

    def open(self, scene: Scene) -> Names:
        """Look at one image."""
        raise NotImplementedError(f"{type(self).__name__} must implement open()")
