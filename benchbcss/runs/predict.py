"""The prediction step of a run: pictures of the scored ROIs, and names for regions."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchbcss.errors import BenchError, PluginError
from benchbcss.io import write_bytes
from benchbcss.runs.setup import Job
from benchbcss.tracks import Track

Stage = Callable[..., None]


def predict(job: Job, stage: Stage) -> dict[str, float]:
    """Write the scored ROIs' predictions as PNG; returns seconds per track.

    Raises PluginError naming backend and ROI.
    """
    predictor = job.predictor(job.model)
    seconds: dict[str, float] = {}
    frame = job.frame
    for track in job.tracks:
        begun = time.monotonic()
        for number, name in enumerate(frame.rois, start=1):
            stage("predicting", track=track.name, roi=number, of=len(frame.rois))
            try:
                for key, array in track.predict(predictor, job.rois[name], frame):
                    folder = track.folder(job.run_dir, key)
                    folder.mkdir(parents=True, exist_ok=True)
                    write_bytes(folder / name, track.picture(array))
            except BenchError as error:
                raise PluginError(f"{job.plugin} on {name}: {error}") from error
        seconds[track.name] = round(time.monotonic() - begun, 3)
    job.context.notes["encoder_calls"] = predictor.encoder_calls
    for track in job.tracks:
        facts = track.name_regions(job.context.clip, frame, job.rois, job.run_dir, stage)
        if facts is not None:
            job.context.notes["clip"] = facts
    return seconds


def view_of(job: Job, track: Track) -> str:
    """How ``track`` sees an ROI, for its record."""
    recipe = job.spec.recipe.view
    if track.whole_roi:  # the whole ROI is encoded once, at this size
        return f"squash{recipe.size}"
    own = recipe.protocol == "squash"
    return (f"squash{recipe.size}" if own else job.spec.suite.protocol) + (
        "+tta" if recipe.tta else ""
    )
