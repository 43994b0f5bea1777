"""What a user sees of work under way: bars on a terminal, a bounded number of lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from benchbcss.progress import Count, Progress
from benchbcss.results.heartbeat import Heartbeat, clock, plain

if TYPE_CHECKING:
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs.executors import Outcome

#: lines that a stage is given where there are no bars, and seconds between those of a command
LINES, PAUSE = 10, 10.0
#: warnings and notes of one run's log that are shown
SHOWN = 10
_MARKS = ("warning: ", "note: ")


@dataclass
class Row:
    """A run, or a stage of this command: what it does, and for a training what it has reached."""

    label: str
    beat: Heartbeat
    track: str = ""
    info: tuple[str, ...] = ()

    @property
    def doing(self) -> str:
        return self.beat.part or f"{self.beat.stage} {self.track}".strip()

    @property
    def left(self) -> str:
        return "" if self.beat.left is None else f"{clock(self.beat.left)} left"

    @property
    def percent(self) -> str:
        return "" if self.beat.share is None else f"{self.beat.share:.0%}"

    @property
    def counted(self) -> str:
        count = self.beat.count
        return f"{count} {self.beat.unit}s" if count and self.beat.unit else count


#: what tells the runs of one command apart: backend, seed, name and, in a sweep, the settings
_Key = tuple[str, int, str, str]


def _key(spec: RunSpec) -> _Key:
    settings = spec.fingerprint() if spec.until == "training" else ""
    return (spec.backend, spec.seed, spec.name, settings)


class Display(Progress):
    """Shows this command's own counts, and the runs that it waits for. A context manager: what it
    replaced is as before when it ends, however it ends."""

    def __init__(self) -> None:
        self.rows: dict[Any, Row] = {}
        self._labels: dict[_Key, str] = {}
        self._logs: dict[_Key, Log] = {}
        self.outcomes: list[Outcome] = []
        self._total = 0
        self._begun = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def expect(self, specs: Sequence[RunSpec], workspace: Path) -> None:
        """These runs will be watched; what their logs hold already is not shown again."""
        seeds = {spec.seed for spec in specs}
        self._total, self._begun = len(specs), time.monotonic()
        for spec in specs:
            words = [spec.backend, spec.name, f"seed {spec.seed}" if len(seeds) > 1 else ""]
            if spec.until == "training":
                words.append("#" + spec.fingerprint()[:6])  # as its folder
            self._labels[_key(spec)] = " ".join(filter(None, words))
            self._logs[_key(spec)] = Log(spec.run_dir(workspace) / "log.txt")

    def watch(self, spec: RunSpec, status: Mapping[str, Any]) -> None:
        """A worker's ``status.json``, shown again and again while it lives."""
        key = _key(spec)
        self._tell(key)
        if not status.get("stage"):
            return
        label = self._labels.get(key, spec.backend)
        row = Row(label, Heartbeat.of(status), str(status.get("track") or ""), _training(status))
        self.update(key, row)

    def ended(self, outcome: Outcome) -> None:
        """A run has ended."""
        self._tell(_key(outcome.spec))
        self.outcomes.append(outcome)
        self.remove(_key(outcome.spec))

    def update(self, key: Any, row: Row) -> None:
        self.rows[key] = row

    def remove(self, key: Any) -> None:
        self.rows.pop(key, None)

    @property
    def summaries(self) -> list[str]:
        """How all runs stand, in ever fewer words; empty for a single one."""
        if self._total < 2:
            return []
        active = sum(key in self._labels for key in self.rows)
        ended = len(self.outcomes)
        bad = sum(outcome.status == "failed" for outcome in self.outcomes)
        short = f"{ended}/{self._total} ended" + (f", {bad} failed" if bad else "")
        failed = f" ({bad} failed)" if bad else ""
        queued = max(0, self._total - ended - active)
        text = f"{ended} of {self._total} runs ended{failed}, {active} at work, {queued} queued"
        return [f"{text}, {clock(time.monotonic() - self._begun)}", text, short]

    @contextmanager
    def counting(self, total: int | None, unit: str = "ROI", doing: str = "") -> Iterator[Count]:
        count = _Shown(self, total, unit, doing)
        try:
            yield count
        finally:
            self.remove(count)

    def _tell(self, key: _Key) -> None:
        log = self._logs.get(key)
        for line in log.new() if log else ():
            print(f"{self._labels[key]}: {line}", file=sys.stderr)


class _Shown(Count):
    """A count of this process, shown as it goes on."""

    def __init__(self, display: Display, total: int | None, unit: str, doing: str) -> None:
        super().__init__(total, unit, doing)
        self._display = display

    def __call__(self, done: int) -> None:
        super().__call__(done)
        beat = Heartbeat.of({"stage": self.doing or self._display.name, **plain([self])})
        self._display.update(self, Row("", beat))


class Log:
    """A run's log, of which new warnings and notes are shown: the first ``SHOWN`` of them."""

    def __init__(self, path: Path) -> None:
        self.path, self._shown = path, 0
        self._read = self._size()

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def new(self) -> list[str]:
        """Whole lines only: the rest of one is read when it is there."""
        from benchbcss.board.unfinished import one_line

        if self._size() < self._read:
            self._read = 0  # another file of that name: --fresh set the old one aside
        if self._size() == self._read or self._shown > SHOWN:
            return []
        with open(self.path, "rb") as handle:
            handle.seek(self._read)
            data = handle.read()
        whole, mark, _ = data.rpartition(b"\n")
        self._read += len(whole) + len(mark)
        told = []
        for line in whole.decode("utf-8", "replace").splitlines():
            if not line.startswith(_MARKS):
                continue
            self._shown += 1
            told.append(one_line(line) if self._shown <= SHOWN else f"more of them in {self.path}")
            if self._shown > SHOWN:
                break
        return told


def _training(status: Mapping[str, Any]) -> tuple[str, ...]:
    """What training has reached at its last epoch, in words."""
    if status.get("loss") is None:
        return ()
    of = f"/{status['epochs']}" if "epochs" in status else ""
    words = [f"epoch {status.get('epoch')}{of}", f"loss {status['loss']}"]
    if status.get("val") not in (None, "-"):
        words.append(f"val Dice {status['val']}")
        words.append(f"any tissue (misleading) {status.get('tissue', '-')}")
    return tuple(words)


def shown(stream: TextIO | None = None) -> Display:
    """Bars where ``stream`` (standard error) is a terminal that can redraw a line, else lines."""
    stream = sys.stderr if stream is None else stream
    if stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        from benchbcss.cli.bars import Bars

        return Bars(stream)
    return Lines()


class Lines(Display):
    """For pipes, files and terminals that cannot redraw: a line when a stage begins, and at most
    ``LINES`` while it lasts; of this command's own stages only those that take long."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[Any, tuple[str, int]] = {}
        self._last = time.monotonic()

    def update(self, key: Any, row: Row) -> None:
        super().update(key, row)
        stage = f"{row.beat.stage} {row.track}"
        share = row.beat.share
        tenth = 0 if share is None else int(share * LINES)
        before, told = self._told.get(key, ("", 0))
        if isinstance(key, Count):
            if tenth <= told or time.monotonic() - self._last < PAUSE:
                return
            self._last = time.monotonic()
        elif stage == before and tenth <= told:
            return
        self._told[key] = (stage, tenth)
        words = [f"{row.beat.stage} {row.track}".strip(), row.counted, row.beat.speed, row.left]
        if row.beat.stage == "training":
            words += row.info
        text = ", ".join(filter(None, words))
        print(f"  {row.label}: {text}" if row.label else f"  {text}", file=sys.stderr)
