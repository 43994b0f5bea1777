"""What happens in a run, told to hooks and trackers: one small frozen object each.

What each holds is frozen or a copy, so that what a plugin does to it changes no run. This module
imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult
    from benchbcss.results.spec import RunSpec


@dataclass(frozen=True)
class RunStarted:
    """A worker has loaded its data and its model and is about to train (or to go on training).

    ``run_dir``: the run's folder, into which a tracker may write files of its own.
    ``spec``: the run's validated specification, a frozen ``benchbcss.results.spec.RunSpec``:
    ``backend``, ``seed``, ``suite``, ``recipe``, ``split``, ``weights``, ``device`` and more.
    """

    run_dir: Path
    spec: RunSpec


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended, and was validated where the recipe says so.

    ``record``: the line added to ``epochs.jsonl``: ``epoch`` (from 0), ``step``, ``loss`` (a mean
    per term), ``learning_rate`` (one per parameter group), ``grad_norm_max``, ``seconds``; after a
    validation also ``val_mean_dice``, ``val_dice`` (per class) and ``val_any_tissue_dice``.
    Undefined numbers are None.
    """

    run_dir: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class RunEnded:
    """A run ended well. ``result``: its record, a frozen ``benchbcss.results.schema.RunResult``,
    which is written already."""

    run_dir: Path
    result: RunResult


@dataclass(frozen=True)
class RunFailed:
    """A started run raised an error: ``reason`` in words, ``stage`` what it was doing.

    A worker that is killed (out of memory, say) can tell nobody.
    """

    run_dir: Path
    reason: str
    stage: str
