"""Which checkpoints of a training are on disk: enough to go on exactly, whatever one file suffers.

``last`` and ``previous`` are the two newest states of training; ``best`` holds the weights of the
best validation so far. Other weights that may still be scored, since their validation is among the
best few or since ``last`` or ``previous`` still count them so, are called ``best-STEP``: no state
is ever joined with the best of another. What validating them on the whole set gave is written down
as well, in ``whole.json`` by the SHA-256 of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from benchbcss.io import read_json, sha256, trusted, write_json
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
        self._last: tuple[str, Sequence[int]] | None = None  # SHA-256, and the steps it needs
        self._best: tuple[str, int] | None = None  # SHA-256, and the step
        self._needed: dict[str, Sequence[int]] = {}  # last, previous -> the steps of their best

    def save_best(
        self, tensors: dict[str, Tensor], step: int, value: float | None, history: History
    ) -> None:
        """Write a snapshot of the weights of a validation that ``history`` counts among the best
        (step 0: those of the start)."""
        name = f"best-{step}"
        if step == history.kept[0]:
            if self._best is not None and self._best[1] in self._all_needed(history):
                digest, old = self._best
                move_checkpoint(self.run_dir, "best", f"best-{old}", digest)
            name = "best"
        digest = write_checkpoint(self.run_dir, name, tensors, {"step": step, "val": value})
        if name == "best":
            self._best = digest, step
        self._remove_others(history)

    def forget_best(self) -> None:
        """Training starts anew: weights of an earlier attempt are not in the way."""
        folder = path_of(self.run_dir, "best").parent
        for path in (*folder.glob("best*.safetensors"), self._whole):
            path.unlink(missing_ok=True)
        self._best = None

    def make_room(self) -> None:
        """Before ``last`` is written: the one that is there becomes ``previous``."""
        if self._last is not None and path_of(self.run_dir, "last").is_file():
            digest, steps = self._last
            move_checkpoint(self.run_dir, "last", "previous", digest)
            self._needed = {"previous": steps}

    def saved_last(self, digest: str, history: History) -> None:
        """``last`` is written; best weights that nothing refers to any more are removed."""
        self._last = digest, history.kept
        self._needed["last"] = history.kept
        self._remove_others(history)

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
            lost = any(self.name_of(step) is None for step in history.kept)
            if lost and not (history.ended and history.scored == "last"):
                print(f"the best weights of {path} are damaged or gone: it is not used", flush=True)
                continue
            self._resume(name, history)
            return "last"
        return None

    def name_of(self, step: int) -> str | None:
        """The checkpoint with the weights of the validation at ``step``, as they were written."""
        for name in (f"best-{step}", "best"):
            state = state_of(self.run_dir, name)
            if state is not None and state.get("step") == step:
                return name
        return None

    def whole(self, step: int) -> dict[str, Any] | None:
        """What validating the weights of ``step`` on the whole set gave; None where it has not been
        done, or not been kept as it was written."""
        name = self.name_of(step)
        outcomes = self._outcomes()
        return None if name is None else outcomes.get(self._digest(name))

    def keep_whole(self, step: int, outcome: dict[str, Any]) -> None:
        """Write down what ``whole`` is to answer from now on, also after an interruption."""
        name = self.name_of(step)
        if name is not None:
            write_json(self._whole, {**self._outcomes(), self._digest(name): outcome})

    @property
    def _whole(self) -> Path:
        return path_of(self.run_dir, "best").parent / "whole.json"

    def _outcomes(self) -> dict[str, Any]:
        try:
            outcomes = read_json(self._whole) if trusted(self._whole) else {}
        except (OSError, ValueError):
            return {}
        return outcomes if isinstance(outcomes, dict) else {}

    def _all_needed(self, history: History) -> set[int]:
        """The steps whose weights the present, or a state on disk, may be scored with."""
        return set(history.kept).union(*self._needed.values())

    def _remove_others(self, history: History) -> None:
        needed = self._all_needed(history)
        for path in path_of(self.run_dir, "best").parent.glob("best-*.safetensors"):
            if path.stem.removeprefix("best-") not in map(str, needed):
                path.unlink()

    def _resume(self, name: str, history: History) -> None:
        """Remember what is on disk, so that it is kept until it is replaced."""
        if name == "previous":
            path_of(self.run_dir, "last").unlink(missing_ok=True)
            move_checkpoint(self.run_dir, "previous", "last", self._digest("previous"))
        self._last = self._digest("last"), history.kept
        self._needed = {"last": history.kept}
        before = state_of(self.run_dir, "previous")
        if before is not None:
            self._needed["previous"] = History(**before["history"]).kept
        if self.name_of(history.kept[0]) == "best":
            self._best = self._digest("best"), history.kept[0]

    def _digest(self, name: str) -> str:
        return sha256(path_of(self.run_dir, name))
