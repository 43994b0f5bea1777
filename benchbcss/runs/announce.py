"""Tells plugins, and the tracker that a run asked for, what happens in it.

One that raises is named in the log and told nothing more: logging must not cost a run. Only a
tracker that cannot start stops its run, while nothing is lost yet.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

from benchbcss import registry
from benchbcss.errors import PluginError, explain
from benchbcss.events import EpochEnded, RunEnded, RunFailed, RunStarted
from benchbcss.protocols import Tracker
from benchbcss.results.schema import RunResult
from benchbcss.results.spec import RunSpec


class Announcer:
    """The listeners of one run; ``tracker`` is a registered name or 'none', ``package`` where the
    code of its backend is."""

    def __init__(self, run_dir: Path, tracker: str, package: str = "") -> None:
        self.run_dir, self.name, self._backend = run_dir, tracker, package
        self._plugins = registry.load()
        self._tracker: Tracker | None = None
        self._package = ""  # of the tracker's code
        self._started = False
        self._quiet: set[str] = set()  # plugins that raised

    def run_started(self, spec: RunSpec) -> None:
        """Raises PluginError where the tracker cannot start."""
        event = RunStarted(self.run_dir, spec)
        if self.name != "none":
            entry = self._plugins.trackers.find(self.name)
            self._package = entry.package
            try:
                self._tracker = entry.load()()
                self._tracker.run_started(event)
            except (Exception, SystemExit) as error:
                self._tracker = None
                raise PluginError(
                    f"The tracker '{self.name}' ({entry.source}) cannot start: "
                    f"{explain(error, entry.package)}"
                ) from error
        self._started = True
        plain = spec.model_dump(mode="json")
        self._hooks("benchbcss_run_start", event, run_dir=event.run_dir, spec=plain)

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """``record``: the line of ``epochs.jsonl``."""
        event = EpochEnded(self.run_dir, copy.deepcopy(record))
        self._track("epoch_ended", event)
        self._hooks("benchbcss_epoch_end", event, run_dir=event.run_dir, record=event.record)

    def run_ended(self, result: RunResult) -> None:
        """``result``: the record, written already."""
        event = RunEnded(self.run_dir, result)
        self._track("run_ended", event)
        plain = result.model_dump(mode="json")
        self._hooks("benchbcss_run_end", event, run_dir=event.run_dir, result=plain)

    def run_failed(self, error: BaseException, stage: str) -> None:
        """Told only where the start was told."""
        if not self._started:
            return
        event = RunFailed(self.run_dir, explain(error, self._backend), stage)
        self._track("run_failed", event)
        self._hooks("benchbcss_run_failed", event)

    def _track(self, method: str, event: Any) -> None:
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, method)(event)
        except (Exception, SystemExit) as error:
            self._tracker = None
            _warn(f"the tracker '{self.name}'", explain(error, self._package))

    def _hooks(self, hook: str, event: Any, **first_edition: Any) -> None:
        manager = self._plugins.manager
        plugins = manager.get_plugins()
        for source in self._plugins.sources:
            if source.plugin in self._quiet:
                continue
            plugin = manager.get_plugin(source.plugin)
            others = [other for other in plugins if other is not plugin]
            try:
                manager.subset_hook_caller(hook, others)(event=event, **first_edition)
            except (Exception, SystemExit) as error:
                self._quiet.add(source.plugin)
                _warn(str(source), explain(error, str(getattr(plugin, "__name__", ""))))


def _warn(who: str, what: str) -> None:
    print(f"warning: {who} raised {what}; it is told nothing more", file=sys.stderr)
