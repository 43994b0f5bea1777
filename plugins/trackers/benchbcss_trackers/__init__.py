"""Training logged beside ``epochs.jsonl``, by ``--set tracker=NAME``."""

from __future__ import annotations

from collections.abc import Callable

from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_trackers(register: Callable[..., None]) -> None:
    register(
        "tensorboard",
        "benchbcss_trackers.tensorboard:TensorBoard",
        "every term of every epoch, in the run's folder",
        requires=("tensorboard",),
        extra="tensorboard",
    )
