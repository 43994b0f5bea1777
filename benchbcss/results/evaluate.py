"""Predictions and masks -> count tables -> track results. No model, no GPU.

Each tier is rebuilt from the one before: ``evaluate`` compares the stored predictions with the
masks and writes the tables, ``from_tables`` needs the tables alone. Both end with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchbcss import registry
from benchbcss.contract import Prompting
from benchbcss.data.dataset import Dataset, Roi, fingerprint
from benchbcss.data.labels import LabelMap
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError, explain
from benchbcss.io import AGAIN, Coded, check, listed, read_table, write_table
from benchbcss.progress import SILENT, Progress
from benchbcss.results import store
from benchbcss.results.schema import METRICS_VERSION, MetricUsed, RunResult, TrackResult
from benchbcss.results.spec import RunSpec
from benchbcss.scoring.per_class import BY_ROI, measure
from benchbcss.scoring.threads import side_by_side
from benchbcss.tracks import TRACKS, Track, parts
from benchbcss.tracks.base import Facts, Frame
from benchbcss.tracks.estimates import bounds, by_class

ROIS = "rois.parquet"  # roi, site: what the rows of every table belong to
_PIXELS = 1 << 26  # of ROIs that are counted at one time: a bound for memory, not for one ROI
SCORES = "scores-"  # and a track's name: its scores by ROI and class


def frame_of(
    spec: RunSpec, labels: LabelMap, rois: Mapping[str, Roi], promptings: Sequence[Prompting]
) -> Frame:
    """The frame of a run's tables, its ROIs in the order of the split."""
    sites = tuple(rois[name].institute for name in spec.scored)
    abstaining = spec.predictions_sha256 is not None or spec.abstains
    return Frame(spec.suite, labels, spec.scored, sites, tuple(promptings), abstaining)


def evaluate(
    frame: Frame,
    tracks: Sequence[Track],
    rois: Mapping[str, Roi],
    run_dir: Path,
    facts: Mapping[str, Facts],
    progress: Progress = SILENT,
) -> dict[str, TrackResult]:
    """Score the predictions in ``run_dir``, and write the tables that the result follows from.

    ROIs that were counted before an interruption are not counted again. ``facts`` holds those of
    each track by its name. Raises DataError naming a missing or mis-sized prediction.
    """
    results: dict[str, TrackResult] = {}
    for track in tracks:
        progress("scoring", track=track.name)
        counts = track.gather(frame, _measured(track, frame, rois, run_dir, progress))
        track.write(counts, frame, run_dir)
        results[track.name] = _result(track, counts, frame, run_dir, facts[track.name])
    number = np.arange(len(frame.rois))
    columns = {"roi": Coded(number, frame.rois), "site": Coded(number, frame.sites)}
    write_table(run_dir / ROIS, columns)
    parts.discard(run_dir)
    return results


def _measured(
    track: Track, frame: Frame, rois: Mapping[str, Roi], run_dir: Path, progress: Progress
) -> list[parts.Arrays]:
    """What the track counts of each ROI, in the frame's order."""

    def measured(name: str) -> parts.Arrays:
        return parts.measured(track, frame, rois[name], run_dir)

    pixels = [math.prod(rois[name].shape) for name in frame.rois]
    with progress.counting(len(frame.rois)) as count:
        count(0)
        arrays = []
        for one in side_by_side(measured, frame.rois, pixels, _PIXELS):
            arrays.append(one)
            count(len(arrays))
    return arrays


def from_tables(spec: RunSpec, run_dir: Path, old: RunResult) -> dict[str, TrackResult]:
    """The track results of a finished run from its tables alone. Raises DataError."""
    table = read_table(run_dir / ROIS)
    labels = _labels_of(old)
    frame = Frame(spec.suite, labels, tuple(table["roi"]), tuple(table["site"]), _promptings(old))
    results: dict[str, TrackResult] = {}
    for name in old.tracks:
        track = TRACKS[name]
        counts = track.read(frame, run_dir)
        results[name] = _result(track, counts, frame, run_dir, _facts(old, name))
    return _with_absent(results, old)


def _with_absent(tracks: Mapping[str, TrackResult], old: RunResult) -> dict[str, TrackResult]:
    """With the values that the record has of metrics whose plugins are not installed here: they
    are of the same predictions and masks. Of the same metrics version, that is: intervals are the
    core's."""
    if old.metrics_version != METRICS_VERSION:
        return dict(tracks)
    registered = registry.load().metrics
    kept = {}
    for name, part in tracks.items():
        before = old.tracks[name]
        absent = {m: used for m, used in before.metrics.items() if m not in registered}
        recorded = before.per_class
        values = {
            estimand: metrics | {m: v for m, v in recorded.get(estimand, {}).items() if m in absent}
            for estimand, metrics in part.per_class.items()
        }
        update = {"metrics": part.metrics | absent, "per_class": values}
        kept[name] = part.model_copy(update=update) if absent else part
    return kept


def _result(track: Track, counts: Any, frame: Frame, run_dir: Path, facts: Facts) -> TrackResult:
    """The track's own result, and the values of every registered metric that it has.

    Those of each ROI and class go to ``scores-TRACK.parquet``: roi, class, and a column per metric.
    """
    result: TrackResult = track.result(counts, frame, run_dir, facts)
    classes, tables = track.tables(counts, frame)
    values: dict[str, dict[str, dict[str, float | None]]] = {name: {} for name in track.estimands}
    used: dict[str, MetricUsed] = {}
    by_roi: dict[str, np.ndarray] = {}
    for name, entry in registry.load().metrics.items():
        if not entry.info.measures(track.name):
            continue
        try:
            measured = measure(entry.load(), tables[entry.info.track])
        except Exception as error:  # a stranger's metric costs no run
            why = explain(error, entry.package)
            print(f"warning: the metric '{name}' ({entry.source}) is left out: {why}", flush=True)
            continue
        intervals = {}
        by_roi[name] = measured[BY_ROI][0]
        for estimand in track.estimands:
            points, spans = measured[estimand]
            values[estimand][name] = by_class(classes, points)
            intervals[estimand] = {c: bounds(s) for c, s in zip(classes, spans, strict=True)}
        used[name] = MetricUsed(
            label=entry.info.label,
            direction=entry.info.direction,
            plugin=str(entry.source),
            # Those of Dice stand in the headline, made for Dice.
            intervals=intervals if name != "dice" else {},
        )
    number, label = np.indices((len(frame.rois), len(classes))).reshape(2, -1)
    columns = {name: scores.reshape(-1) for name, scores in by_roi.items()}
    names = {"roi": Coded(number, frame.rois), "class": Coded(label, classes)}
    write_table(run_dir / f"{SCORES}{track.name}.parquet", {**names, **columns})
    return result.model_copy(update={"per_class": values, "metrics": used})


def rescore(run_dir: Path, progress: Progress = SILENT) -> RunResult:
    """The record of a finished run with its tables and scores computed anew from the stored
    predictions and the very masks that the record names.

    Raises DataError for masks that have changed, naming the ROI, and for missing predictions.
    """
    parts.discard(run_dir)
    old = store.load(run_dir)
    frame, rois = scored(run_dir, old, progress)
    facts = {name: _facts(old, name) for name in old.tracks}
    measured = [TRACKS[name] for name in old.tracks]
    tracks = _with_absent(evaluate(frame, measured, rois, run_dir, facts, progress), old)
    data = old.data.model_copy(update={"masks": mask_hashes(rois)})
    return old.model_copy(
        update={"metrics_version": METRICS_VERSION, "tracks": tracks, "data": data}
    )


def scored(
    run_dir: Path, old: RunResult, progress: Progress = SILENT
) -> tuple[Frame, dict[str, Roi]]:
    """What the record ``old`` in ``run_dir`` was scored on. Raises DataError for masks that have
    changed, naming the ROI."""
    spec = store.load_spec(run_dir)
    source = Dataset(
        Path(spec.data_root), TileStore(Path(spec.store_root)), spec.suite.reading(), spec.sites
    )
    labels = spec.suite.labels(source.code_table())
    rois = source.rois(progress.counted(spec.scored, doing="reading"), labels)
    _check_masks(old, spec, source, labels, rois)
    return frame_of(spec, labels, rois, _promptings(old)), rois


def lost(run_dir: Path) -> list[Path]:
    """The stored predictions of a finished run that are missing, or not as they were written.
    Raises DataError."""
    old, spec = store.load(run_dir), store.load_spec(run_dir)
    frame = Frame(spec.suite, _labels_of(old), spec.scored, (), _promptings(old))
    files = [
        path
        for name in old.tracks
        for roi in frame.rois
        for path in TRACKS[name].files(frame, roi, run_dir)
    ]
    return [path for path in files if check(path) in ("missing", "altered")]


def rebuild(run_dir: Path) -> RunResult:
    """The record of a finished run with its scores computed anew from its tables alone, where its
    predictions are gone. Raises DataError where the tables do not serve for that."""
    old, spec = store.load(run_dir), store.load_spec(run_dir)
    check_tables(run_dir, old)
    return old.model_copy(update={"tracks": from_tables(spec, run_dir, old)})


def check_tables(run_dir: Path, old: RunResult) -> None:
    """Raises DataError where the record ``old`` does not follow from the tables beside it by this
    program's metrics."""
    if old.metrics_version != METRICS_VERSION:
        raise DataError(
            f"The tables in {run_dir} were counted by metrics version {old.metrics_version}, this "
            f"program's is {METRICS_VERSION}. {AGAIN}."
        )
    tables = {ROIS, *(name for name in listed(run_dir) if name.endswith(".parquet"))}
    for name in sorted(tables):
        state = check(run_dir / name)
        if state in ("missing", "altered") and not name.startswith(SCORES):  # written anew
            raise DataError(f"{run_dir / name} is {state}. {AGAIN}.")


def mask_hashes(rois: Mapping[str, Roi]) -> dict[str, str]:
    """ROI -> SHA-256 of its mask file."""
    return {name: roi.mask_entry.sha256 for name, roi in rois.items()}


def _check_masks(
    old: RunResult, spec: RunSpec, source: Dataset, labels: LabelMap, rois: Mapping[str, Roi]
) -> None:
    """A score may only be replaced by one of the same masks: its fingerprint says which."""
    now = mask_hashes(rois)
    changed = [name for name, digest in old.data.masks.items() if now.get(name) != digest]
    if not old.data.masks:  # an older record knows its data only as a whole
        names = (*spec.split.train, *spec.split.val, *spec.split.test)
        if fingerprint(source.rois(names, labels).values()) != old.data.fingerprint:
            changed = ["one of the ROIs"]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DataError(
            f"The mask of {changed[0]}{more} is not the one this run was scored against. Restore "
            f"the file, or run the backend again on the corrected data."
        )


def _labels_of(old: RunResult) -> LabelMap:
    """As the record says: the dataset, whose code table decides it too, may be gone."""
    used = old.label_map
    classes = tuple((name, tuple(codes)) for name, codes in used.classes.items())
    return LabelMap(used.name, classes, tuple(used.ignore), tuple(used.mean), used.not_ranked)


def _facts(old: RunResult, track: str) -> Facts:
    return Facts(old.tracks[track].view, old.notes.get("clip") or {})


def _promptings(old: RunResult) -> tuple[Prompting, ...]:
    """Those of the record, the headline first."""
    keys: list[str] = []
    for part in old.tracks.values():
        if part.prompting is not None:
            keys += [part.prompting.key, *(other.prompting.key for other in part.others)]
    return tuple(Prompting.parse(key) for key in keys)
