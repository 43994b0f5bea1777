"""Training logged beside ``epochs.jsonl``: TensorBoard, by ``--set tracker=tensorboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchbcss.hookspecs import hookimpl

_writers: dict[Path, Any] = {}


@hookimpl
def benchbcss_run_start(run_dir: Path, spec: dict[str, Any]) -> None:
    if spec["recipe"]["tracker"] != "tensorboard":
        return
    from torch.utils.tensorboard import SummaryWriter

    _writers[run_dir] = SummaryWriter(str(run_dir / "tensorboard"))


@hookimpl
def benchbcss_epoch_end(run_dir: Path, record: dict[str, Any]) -> None:
    writer = _writers.get(run_dir)
    if writer is None:
        return
    for name, value in scalars(record).items():
        writer.add_scalar(name, value, record["step"])
    writer.flush()


@hookimpl
def benchbcss_run_end(run_dir: Path, result: dict[str, Any]) -> None:
    writer = _writers.pop(run_dir, None)
    if writer is None:
        return
    for track, section in result["tracks"].items():
        for name, value in section["headline"]["per_roi"]["dice"].items():
            if value is not None:
                writer.add_scalar(f"test/{track}/dice/{name}", value)
    writer.close()


def scalars(record: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested record by path: ``loss/dice``, ``learning_rate/decoder``."""
    found: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= scalars(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
