"""The prediction step of a run: pictures of the scored ROIs, and names for regions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from benchbcss.errors import BenchError, PluginError
from benchbcss.inference.predictor import Predictor
from benchbcss.io import read_json, trusted, write_bytes, write_json
from benchbcss.plain import plain
from benchbcss.progress import Progress
from benchbcss.runs.setup import Job
from benchbcss.temporary import remove
from benchbcss.tracks import Track, get
from benchbcss.training.processes import of_first

INDEX = "predictions.json"


@dataclass(frozen=True)
class _Made:
    """One ROI's pictures, by their names in the run's folder; the bytes of those that the first
    process has yet to write."""

    roi: str
    files: list[str]
    unwritten: dict[str, bytes]
    seconds: float
    encoder_calls: int
    remarks: dict[str, Any]


def predict(job: Job, stage: Progress) -> dict[str, float]:
    """Write the scored ROIs' predictions as PNG; returns seconds per track, summed over processes.

    An ROI whose pictures are all there, as they were written, is not predicted again. The processes
    that trained together (see ``assist``) predict one ROI each at a time. Raises PluginError naming
    backend and ROI.
    """
    predictor = job.predictor(job.model)
    frame = job.frame
    job.context.notes.pop("clip", None)  # the harness's, as "encoder_calls" is
    index = _Index(job.run_dir)
    for track in job.tracks:
        missing = [name for name in frame.rois if not index.has(track.name, name)]
        done, total = len(frame.rois) - len(missing), len(frame.rois)
        stage("predicting", track=track.name)
        if done and missing:
            stage.note(f"continuing with {len(missing)} of {total} ROIs of the {track.name} track")
        of_first(job.accelerator, (track.name, missing))
        with stage.counting(total) as count:
            count(done)
            for made in _rounds(job, predictor, track, missing):
                for file, content in made.unwritten.items():
                    _write(job.run_dir / file, content)
                index.add(track.name, made)
                done += 1
                count(done)
    of_first(job.accelerator, None)
    with job.guarded("running summary"):
        said = job.backend.summary(index.remarks(frame.rois))
    if not isinstance(said, dict):
        raise PluginError(f"{job.plugin}: summary() returned {said!r:.60}, expected a dict")
    job.context.notes.update(plain(said))
    job.context.notes["encoder_calls"] = index.total("encoder_calls")
    for track in job.tracks:
        facts = track.name_regions(job.context.clip, frame, job.rois, job.run_dir, stage)
        if facts is not None:
            job.context.notes["clip"] = facts
    return {track.name: round(index.total("seconds", track.name), 3) for track in job.tracks}


def assist(job: Job, load: Callable[[], object]) -> None:
    """What every process but the first does while that is in ``predict``: its share of the ROIs,
    whose pictures the first one writes. ``load`` puts the weights that are scored into the model,
    once there are any."""
    predictor = None
    while (asked := of_first(job.accelerator, None)) is not None:
        if predictor is None:
            load()
            predictor = job.predictor(job.model)
        track, missing = asked
        for _ in _rounds(job, predictor, get(track), missing):
            pass


def _rounds(
    job: Job, predictor: Predictor, track: Track, missing: Sequence[str]
) -> Iterator[_Made]:
    """What is made of the ROIs ``missing``, in their order, an ROI of each process at a time.

    Every process is heard before an error is raised, in all of them: one that was missing would be
    waited for.
    """
    rank, world = job.accelerator.process_index, job.accelerator.num_processes
    for first in range(0, len(missing), world):
        share = missing[first : first + world][rank : rank + 1]
        mine: list[_Made | str] = []
        try:
            mine += [_made(job, predictor, track, name) for name in share]
        except Exception as error:
            if world == 1:
                raise
            text = (
                str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            )
            mine.append(text)
        for made in gather_object(mine) if world > 1 else mine:
            if isinstance(made, str):
                raise PluginError(made)
            yield made


def _made(job: Job, predictor: Predictor, track: Track, name: str) -> _Made:
    """Predict one ROI, and store it where this is the first process."""
    job.context.remarks.clear()
    begun, calls = time.monotonic(), predictor.encoder_calls
    files, unwritten = [], {}
    try:
        for key, array in track.predict(predictor, job.rois[name], job.frame):
            path, content = track.folder(job.run_dir, key) / name, track.picture(array)
            file = path.relative_to(job.run_dir).as_posix()
            files.append(file)
            if job.accelerator.is_main_process:
                _write(path, content)
            else:
                unwritten[file] = content
    except BenchError as error:
        raise PluginError(f"{job.plugin} on {name}: {error}") from error
    seconds = time.monotonic() - begun
    made = predictor.encoder_calls - calls
    return _Made(name, files, unwritten, seconds, made, plain(job.context.remarks))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def discard(run_dir: Path) -> None:
    """Remove all predictions: those of other weights than the run is to be scored with."""
    remove(run_dir / INDEX)
    remove(run_dir / "predictions")


class _Index:
    """What has been predicted: track -> ROI -> its files, and what they cost."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.path = run_dir / INDEX
        content: Any = read_json(self.path) if trusted(self.path) else {}
        self._entries: dict[str, dict[str, dict[str, Any]]] = content

    def has(self, track: str, roi: str) -> bool:
        entry = self._entries.get(track, {}).get(roi)
        return entry is not None and all(trusted(self.run_dir / file) for file in entry["files"])

    def add(self, track: str, made: _Made) -> None:
        entry: dict[str, Any] = {
            "files": made.files,
            "seconds": made.seconds,
            "encoder_calls": made.encoder_calls,
        }
        if made.remarks:
            entry["remarks"] = made.remarks
        self._entries.setdefault(track, {})[made.roi] = entry
        write_json(self.path, self._entries)

    def remarks(self, rois: Sequence[str]) -> list[dict[str, Any]]:
        """What the backend said of the predictions of ``rois``, in their order."""
        entries = [self._entries[track].get(roi, {}) for track in self._entries for roi in rois]
        return [entry["remarks"] for entry in entries if "remarks" in entry]

    def total(self, field: str, track: str | None = None) -> Any:
        """The sum over all ROIs of one track, or of all."""
        chosen = self._entries.values() if track is None else [self._entries.get(track, {})]
        return sum(entry[field] for rois in chosen for entry in rois.values())


def view_of(job: Job, track: Track) -> str:
    """How ``track`` sees an ROI, for its record."""
    recipe = job.spec.recipe.view
    if track.whole_roi:  # the whole ROI is encoded once, at this size
        return f"squash{recipe.size}"
    squashed = recipe.protocol == "squash"
    return (f"squash{recipe.size}" if squashed else job.spec.suite.protocol) + (
        "+tta" if recipe.tta else ""
    )
