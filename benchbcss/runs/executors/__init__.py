"""Where runs are carried out: an executor chosen by name, and the loop that waits for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbcss import registry
from benchbcss.errors import PluginError
from benchbcss.runs.executors.protocol import (
    Executor,
    Outcome,
    Settings,
    failed,
    finished,
    judge,
    prepare,
    status_of,
    worker_command,
)
from benchbcss.runs.queue import Queue

if TYPE_CHECKING:
    from benchbcss.results.spec import RunSpec

__all__ = [
    "Executor",
    "Outcome",
    "Settings",
    "failed",
    "finished",
    "judge",
    "prepare",
    "run_all",
    "script",
    "status_of",
    "worker_command",
]


def script(specs: Sequence[RunSpec], settings: Settings, executor: str) -> str:
    """How the executor of that name would carry out ``specs``, for ``--dry-run``; '' where there is
    nothing to see. Raises InputError where it could not."""
    return registry.load().executors.find(executor).call(settings).script(specs)


def run_all(
    specs: Sequence[RunSpec], settings: Settings, *, executor: str = "local"
) -> list[Outcome]:
    """Run ``specs`` by the executor of that name; returns their outcomes in order.

    Raises UnknownNameError. Interrupted, nothing is left behind.
    """
    chosen = registry.load().executors.find(executor).call(settings)
    places = [spec.run_dir(settings.workspace) for spec in specs]
    outcomes: list[Outcome] = []
    with Queue(settings.workspace, places) as queue:
        try:
            chosen.submit(specs)
            while len(outcomes) < len(places):
                ended = chosen.poll()
                if not isinstance(ended, list | tuple):
                    raise PluginError(
                        f"The executor '{executor}' answered poll() with {ended!r:.60}, expected "
                        f"a list of outcomes."
                    )
                for outcome in ended:
                    if outcome.run_dir not in places:
                        raise PluginError(
                            f"The executor '{executor}' reports {outcome.run_dir}, which it was "
                            f"not asked to run."
                        )
                    outcomes.append(outcome)
                    queue.ended(outcome.run_dir)
                    settings.ended(outcome)
                if len(outcomes) < len(places):
                    time.sleep(chosen.poll_seconds)
        finally:
            chosen.cancel()
    return sorted(outcomes, key=lambda outcome: places.index(outcome.run_dir))
