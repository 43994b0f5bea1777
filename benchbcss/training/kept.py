"""Which checkpoints of a training are on disk: enough to go on exactly, whatever one file suffers.

``last`` and ``previous`` are the two newest states of training; ``best`` holds the weights of the
best validation so far. Weights that ``last`` or ``previous`` still count as the best are renamed
``best-STEP`` before better ones take their place, so that no state is ever joined with the best of
another.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from benchbcss.io import sha256
from benchbcss.training.checkpoint import (
    move_checkpoint,
    path_of,
    state_of,
    write_checkpoint,
)
from benchbcss.training.history import History


class Kept:
    """The checkpoints of the run in ``run_dir``; used by the first process only, and by one thread
    at a time."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._last: tuple[str, int] | None = None  # SHA-256, and the step of its best weights
        self._best: tuple[str, int] | None = None  # SHA-256, and the step
        self._needed: dict[str, int] = {}  # last, previous -> the step of its best weights

    def save_best(self, tensors: dict[str, Tensor], step: int, value: float | None) -> None:
        """Write a snapshot of the weights of the best validation so far (step 0: of the start)."""
        if self._best is not None and self._best[1] in self._needed.values():
            digest, old = self._best
            move_checkpoint(self.run_dir, "best", f"best-{old}", digest)
        digest = write_checkpoint(self.run_dir, "best", tensors, {"step": step, "val": value})
        self._best = digest, step

    def forget_best(self) -> None:
        """Training starts anew: weights of an earlier attempt are not in the way."""
        for path in path_of(self.run_dir, "best").parent.glob("best*.safetensors"):
            path.unlink()
        self._best = None

    def make_room(self) -> None:
        """Before ``last`` is written: the one that is there becomes ``previous``."""
        if self._last is not None and path_of(self.run_dir, "last").is_file():
            digest, step = self._last
            move_checkpoint(self.run_dir, "last", "previous", digest)
            self._needed = {"previous": step}

    def saved_last(self, digest: str, history: History) -> None:
        """``last`` is written; best weights that nothing refers to any more are removed."""
        step = history.best_step or 0
        self._last = digest, step
        self._needed["last"] = step
        for path in path_of(self.run_dir, "best").parent.glob("best-*.safetensors"):
            if path.stem.removeprefix("best-") not in map(str, self._needed.values()):
                path.unlink()

    def newest(self) -> str | None:
        """The newest checkpoint from which training can go on exactly, ``last`` by now; None for
        none. Says what is passed over."""
        for name in ("last", "previous"):
            state = state_of(self.run_dir, name)
            path = path_of(self.run_dir, name)
            if state is None:
                if path.exists():
                    print(f"{path} is damaged: it is not used", flush=True)
                continue
            history = History(**state["history"])
            best = self.best_name(history)
            if best is None and not (history.ended and history.scored == "last"):
                print(f"the best weights of {path} are damaged or gone: it is not used", flush=True)
                continue
            self._resume(name, history, best)
            return "last"
        return None

    def best_name(self, history: History) -> str | None:
        """The checkpoint with the best weights of ``history`` (those of the start where none was
        better), as they were written."""
        step = history.best_step or 0
        for name in (f"best-{step}", "best"):
            state = state_of(self.run_dir, name)
            if state is not None and state.get("step") == step:
                return name
        return None

    def _resume(self, name: str, history: History, best: str | None) -> None:
        """Remember what is on disk, so that it is kept until it is replaced."""
        if name == "previous":
            path_of(self.run_dir, "last").unlink(missing_ok=True)
            move_checkpoint(self.run_dir, "previous", "last", self._digest("previous"))
        step = history.best_step or 0
        self._last = self._digest("last"), step
        self._needed = {"last": step}
        before = state_of(self.run_dir, "previous")
        if before is not None:
            self._needed["previous"] = before["history"]["best_step"] or 0
        if best == "best":
            self._best = self._digest("best"), step

    def _digest(self, name: str) -> str:
        return sha256(path_of(self.run_dir, name))
