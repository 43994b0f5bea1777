"""``benchbcss rescore --complete``: measures what a finished run lacks for want of weights, such as
CLIP's, from its stored predictions and final weights. Nothing is trained.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchbcss.errors import DataError, RunError, WeightsError
from benchbcss.progress import SILENT, Progress
from benchbcss.results import evaluate, provenance, store
from benchbcss.results.schema import METRICS_VERSION
from benchbcss.runs.rehearse import CLIP_ACCURACY
from benchbcss.tracks import TRACKS, parts

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult
    from benchbcss.results.spec import RunSpec

#: the note of a record that was completed by other code than the run's own
LATER = "completed_by_changed_code"


def lacking(result: RunResult) -> dict[str, str]:
    """What was not measured, and why: tracks, and CLIP's accuracy in naming regions."""
    lacks = dict(result.not_measured)
    for name, track in result.tracks.items():
        if TRACKS[name].labels_regions and track.regions and track.regions.not_measured:
            lacks[CLIP_ACCURACY] = track.regions.not_measured
    return lacks


def complete(run_dir: Path, progress: Progress = SILENT) -> list[str]:
    """Measure what the run lacks, as far as that can be done by now, and write its record anew;
    returns what was measured. Its old record stands where nothing could be.

    Raises DataError where predictions or masks are not those that were scored, RunError where the
    trained weights are gone, and WeightsError saying why where nothing could be measured.
    """
    with store.owned(run_dir, store.A_MOMENT):
        old = store.load(run_dir)
        before = lacking(old)
        if not before:
            return []
        gone = evaluate.lost(run_dir)
        if gone:
            raise RunError(f"The prediction {gone[0]} is missing or damaged. {evaluate.AGAIN}.")
        new = _with_tracks(run_dir, old, progress) if old.not_measured else None
        new = new or _with_regions(run_dir, old, progress)
        after = lacking(new)
        measured = [name for name in before if name not in after]
        if not measured:
            raise WeightsError("; ".join(f"{name}: {reason}" for name, reason in after.items()))
        store.save(run_dir, new)
    return measured


def _with_regions(run_dir: Path, old: RunResult, progress: Progress) -> RunResult:
    """With regions named by CLIP; the model is not needed for that."""
    import torch

    from benchbcss.inference.clip import Source

    if old.metrics_version != METRICS_VERSION:
        raise DataError(
            f"{run_dir} was scored by metrics version {old.metrics_version}, this program's is "
            f"{METRICS_VERSION}. Run first: benchbcss rescore"
        )
    evaluate.check_tables(run_dir, old)
    spec = store.load_spec(run_dir)
    device = "cuda" if torch.cuda.is_available() and spec.device != "cpu" else "cpu"
    source = Source(spec.clip, torch.device(device))
    frame, rois = evaluate.scored(run_dir, old, progress)
    notes = dict(old.notes)
    for name in old.tracks:
        facts = TRACKS[name].name_regions(source, frame, rois, run_dir, progress)
        if facts is not None:
            notes["clip"] = facts
    parts.discard(run_dir)
    new = old.model_copy(update={"notes": notes})
    return new.model_copy(update={"tracks": evaluate.from_tables(spec, run_dir, new)})


def _with_tracks(run_dir: Path, old: RunResult, progress: Progress) -> RunResult | None:
    """With tracks that the backend can be measured in by now, predicted by its trained weights;
    None where there are none."""
    from benchbcss.runs import train, worker
    from benchbcss.runs.setup import setup

    if not train.is_done(run_dir):
        raise RunError(
            f"The trained weights of {run_dir} are gone or damaged: what it lacks takes another "
            f"training, by the same command with --fresh."
        )
    job = setup(store.load_spec(run_dir), run_dir, progress)
    if not old.not_measured.keys() - job.not_measured.keys():
        return None
    evaluate.scored(run_dir, old, progress)  # the very masks
    training, stability = train.train(job, progress)
    new = worker.measured(job, training, stability, progress, time.time())
    inference = new.cost.inference_seconds
    notes = dict(new.notes)
    if changed := changed_since(job.spec, job.registered.target):
        notes[LATER] = changed
    return new.model_copy(
        update={
            "cost": old.cost.model_copy(update={"inference_seconds": inference}),
            "notes": notes,
        }
    )


def changed_since(spec: RunSpec, target: str) -> list[str]:
    """Whose source is not any more what the run's fingerprint holds: the backend's, the harness's.
    What is predicted now is predicted by the present one."""
    now = {
        f"plugin {spec.plugin}": (spec.code_sha256, provenance.code_digest(target)),
        "benchbcss": (spec.core_sha256, provenance.core_digest()),
    }
    return [name for name, (before, present) in now.items() if before != present]
