"""The prediction step of a run: pictures of the scored ROIs, and names for regions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchbcss.errors import BenchError, PluginError
from benchbcss.inference.predictor import Predictor
from benchbcss.io import read_json, trusted, write_bytes, write_json
from benchbcss.progress import Progress
from benchbcss.runs.setup import Job
from benchbcss.temporary import remove
from benchbcss.tracks import Track

INDEX = "predictions.json"


def predict(job: Job, stage: Progress) -> dict[str, float]:
    """Write the scored ROIs' predictions as PNG; returns seconds per track.

    An ROI whose pictures are all there, as they were written, is not predicted again. Raises
    PluginError naming backend and ROI.
    """
    predictor = job.predictor(job.model)
    frame = job.frame
    index = _Index(job.run_dir)
    for track in job.tracks:
        missing = [name for name in frame.rois if not index.has(track.name, name)]
        done, total = len(frame.rois) - len(missing), len(frame.rois)
        stage("predicting", track=track.name)
        if done and missing:
            stage.note(f"continuing with {len(missing)} of {total} ROIs of the {track.name} track")
        with stage.counting(total) as count:
            count(done)
            for number, name in enumerate(missing, start=done + 1):
                job.context.remarks.clear()
                try:
                    made = _pictures(job, predictor, track, name)
                    index.add(track.name, name, *made, dict(job.context.remarks))
                except BenchError as error:
                    raise PluginError(f"{job.plugin} on {name}: {error}") from error
                count(number)
    with job.guarded("running summary"):
        job.context.notes.update(job.backend.summary(index.remarks(frame.rois)))
    job.context.notes["encoder_calls"] = index.total("encoder_calls")
    for track in job.tracks:
        facts = track.name_regions(job.context.clip, frame, job.rois, job.run_dir, stage)
        if facts is not None:
            job.context.notes["clip"] = facts
    return {track.name: round(index.total("seconds", track.name), 3) for track in job.tracks}


def _pictures(
    job: Job, predictor: Predictor, track: Track, name: str
) -> tuple[list[str], float, int]:
    """Predict one ROI and store it; returns the files' names in the run's folder, the seconds that
    it took, and how often the encoder was called."""
    begun, calls = time.monotonic(), predictor.encoder_calls
    files = []
    for key, array in track.predict(predictor, job.rois[name], job.frame):
        path = track.folder(job.run_dir, key) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, track.picture(array))
        files.append(path.relative_to(job.run_dir).as_posix())
    return files, time.monotonic() - begun, predictor.encoder_calls - calls


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

    def add(
        self,
        track: str,
        roi: str,
        files: list[str],
        seconds: float,
        calls: int,
        remarks: dict[str, Any],
    ) -> None:
        entry: dict[str, Any] = {"files": files, "seconds": seconds, "encoder_calls": calls}
        if remarks:
            entry["remarks"] = remarks
        self._entries.setdefault(track, {})[roi] = entry
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
