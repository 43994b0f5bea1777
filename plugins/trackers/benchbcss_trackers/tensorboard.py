"""TensorBoard: the numbers of each epoch, and the test Dice of each class at the end."""

from __future__ import annotations

from typing import Any

from torch.utils.tensorboard import SummaryWriter

from benchbcss.events import EpochEnded, RunEnded, RunFailed, RunStarted
from benchbcss.protocols import Tracker


class TensorBoard(Tracker):
    """Writes to ``tensorboard/`` in the run's folder."""

    def run_started(self, event: RunStarted) -> None:
        self.writer = SummaryWriter(str(event.run_dir / "tensorboard"))

    def epoch_ended(self, event: EpochEnded) -> None:
        for name, value in scalars(event.record).items():
            self.writer.add_scalar(name, value, event.record["step"])
        self.writer.flush()

    def run_ended(self, event: RunEnded) -> None:
        for track, scores in event.result.tracks.items():
            for name, value in scores.headline.per_roi.dice.items():
                if value is not None:
                    self.writer.add_scalar(f"test/{track}/dice/{name}", value)
        self.writer.close()

    def run_failed(self, event: RunFailed) -> None:
        self.writer.add_text("failure", f"{event.reason} while {event.stage}")
        self.writer.close()


def scalars(record: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested record by path: ``loss/dice``, ``learning_rate/decoder``."""
    numbers: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            numbers |= scalars(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers[f"{prefix}{key}"] = float(value)
    return numbers
