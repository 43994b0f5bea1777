"""Label maps made by any other tool become a run: checked, copied, scored as ours are."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchbcss import __version__
from benchbcss.data.labels import official_codes
from benchbcss.data.ramps import look_interpolated, ramps
from benchbcss.errors import BenchError, DataError, InputError, SuiteError
from benchbcss.io import write_bytes
from benchbcss.progress import SILENT, Progress
from benchbcss.recipes import Recipe
from benchbcss.results import evaluate, provenance, store
from benchbcss.results.schema import Cost, Training
from benchbcss.results.spec import RunSpec
from benchbcss.runs.executors.protocol import set_aside
from benchbcss.runs.external import fit, labels, reading
from benchbcss.runs.planning import Asked, Prepared, common, extensions
from benchbcss.suites import CustomLabelMap
from benchbcss.temporary import ending
from benchbcss.tracks import shared
from benchbcss.tracks.base import Facts
from benchbcss.tracks.semantic import Semantic
from benchbcss.weights import Provenance, Random

_SHOWN = 10  # problems that one message names


@dataclass
class Scored:
    """What became of predictions: the run's folder, whether the very same were scored before under
    this name, and what the user should know."""

    run_dir: Path
    kept: bool = False
    warnings: list[str] = field(default_factory=list)


def score(
    predictions: Path,
    prepared: Prepared,
    *,
    name: str,
    numbering: str,
    workspace: Path,
    replace: bool = False,
    progress: Progress = SILENT,
) -> Scored:
    """Score a folder or .zip of label maps against the test ROIs of ``prepared``.

    ``numbering`` is 'labels' (0..K-1 of the suite's label map), 'codes' (the dataset's), 'nnunet'
    (as dataset.json beside them says) or the path of a class map. Raises DataError listing every
    missing, doubled, mis-sized and mis-coded file, and InputError where other predictions have
    this name already: ``replace`` sets those aside. What was scored of the same predictions by
    other code, or with other institutes, is set aside anyway.
    """
    if not shared(prepared.suite.tracks, [Semantic.name]):
        raise SuiteError(
            f"The suite '{prepared.suite.name}' has no {Semantic.name} track, so label maps cannot "
            f"be scored in it. Choose another --suite."
        )
    workspace.mkdir(parents=True, exist_ok=True)
    with (
        reading.opened(predictions) as source,
        tempfile.TemporaryDirectory(ending(), ".score-", workspace) as staged,
    ):
        files = prepared.suite.files
        instances = bool(files and files.instances)
        meaning = labels.numbering(
            numbering, source, prepared.labels, _codes(prepared), instances=instances
        )
        copied = _copy(source, prepared, meaning, Path(staged), progress)
        spec = _spec(prepared, name, copied.digest, workspace)
        run_dir = spec.run_dir(workspace)
        scored = Scored(run_dir, store.is_finished(run_dir), copied.warnings)
        others = _same_row(spec, workspace)
        foreign = [path for path, digest in others.items() if digest != copied.digest]
        if foreign and not replace:
            raise InputError(
                f"Other predictions were scored as '{name}' already ({foreign[0]}). Pass --replace "
                f"to set that result aside, or another --name."
            )
        if not scored.kept:
            with store.owned(run_dir):
                run = (spec, prepared, predictions, meaning, Path(staged), workspace)
                _finish(*run, progress)
    for old in others:
        scored.warnings.append(f"the result before is set aside: {set_aside(old)}")
    readings = {
        "--labels labels": labels.by_labels(prepared.labels),
        "--labels codes (--codes raw22)": labels.by_codes(prepared.labels, instances=instances),
    }
    if better := fit.hint(copied.confusion, meaning, readings, prepared.labels):
        scored.warnings.append(better)
    return scored


@dataclass
class _Copied:
    """Predictions read, mapped and kept as pictures; ``digest`` is of their labels."""

    digest: str
    confusion: fit.Confusion
    warnings: list[str]


def _copy(
    source: reading.Source,
    prepared: Prepared,
    meaning: labels.Numbering,
    staged: Path,
    progress: Progress,
) -> _Copied:
    """One ROI at a time, so that memory holds one. Raises DataError with every problem."""
    wanted, track = prepared.split.test, Semantic()
    candidates = source.of(wanted)
    taken = {candidate for files in candidates.values() for candidate in files}
    confusion = fit.Confusion(len(prepared.labels.classes))
    digest = hashlib.sha256()
    problems: list[str] = []
    unknown: Counter[int] = Counter()
    interpolated: list[tuple[int, int]] = []
    nothing = 0
    for roi in progress.counted(wanted, doing="reading predictions"):
        files = candidates[roi]
        if len(files) != 1:
            both = ", ".join(str(candidate.path) for candidate in files[:3])
            what = f"{len(files)} files: {both}. Keep one" if files else source.missing(roi, taken)
            problems.append(f"{roi}: {what}")
            continue
        try:
            values = source.values(files[0], prepared.rois[roi].shape, meaning.colours)
            mapped, odd = meaning.apply(values)
        except DataError as error:
            problems.append(f"{files[0].path}: {str(error).rstrip('.')}")
            continue
        unknown.update(odd)
        interpolated.append(ramps(values))
        nothing += int(np.count_nonzero(mapped == labels.NO_CLASS))
        confusion.add(prepared.rois[roi].target(prepared.labels), values)
        digest.update(f"{roi} {mapped.shape}".encode())
        digest.update(np.ascontiguousarray(mapped).data)
        write_bytes(staged / roi, track.picture(mapped))
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{len(problems)} of {len(wanted)} predictions in {source.path} cannot be scored: "
            f"{'; '.join(problems[:_SHOWN])}{more}."
        )
    warnings = list(meaning.remarks)
    if unknown:
        shown = ", ".join(f"{value} ({pixels} pixels)" for value, pixels in sorted(unknown.items()))
        warnings.append(f"not in {meaning.name}, so no class and a miss: {shown}")
    if nothing:
        warnings.append(f"{nothing} pixel(s) are given no class, which counts as a miss")
    if wrong := source.palettes.disagreement:
        warnings.append(
            f"the palettes of the label maps disagree: {wrong}: if so, say what they are with "
            f"--labels FILE, in lines such as '\"#ff0000\": CLASS'"
        )
    if wrong := look_interpolated(interpolated):
        warnings.append(f"{wrong}: if the label maps were resampled, do so with nearest neighbour")
    used = {candidates[roi][0] for roi in wanted}
    extra = [str(candidate.path) for candidate in source.candidates if candidate not in used]
    if extra:
        warnings.append(f"{len(extra)} file(s) belong to no test ROI: {', '.join(extra[:3])}")
    return _Copied(digest.hexdigest(), confusion, warnings)


def _finish(
    spec: RunSpec,
    prepared: Prepared,
    predictions: Path,
    meaning: labels.Numbering,
    staged: Path,
    workspace: Path,
    progress: Progress,
) -> None:
    """Score the pictures in ``staged`` and write the record."""
    run_dir, track = spec.run_dir(workspace), Semantic()
    target = track.folder(run_dir)
    target.mkdir(parents=True, exist_ok=True)
    store.save_spec(run_dir, spec)
    for picture in staged.iterdir():
        os.replace(picture, target / picture.name)
    begun = time.time()
    rois = {roi: prepared.rois[roi] for roi in prepared.split.test}
    frame = evaluate.frame_of(spec, prepared.labels, rois, ())
    seen: dict[str, Facts] = {track.name: Facts("not known")}
    tracks = evaluate.evaluate(frame, [track], rois, run_dir, seen, progress)
    about = {"from": predictions.name, "labels": meaning.name, "classes": meaning.names}
    facts = store.Facts(
        notes={"predictions": about},
        training=Training(),
        cost=Cost(device="not known", total_seconds=round(time.time() - begun, 2)),
        weights=store.weights_of(spec, Provenance(source="not known: predictions made elsewhere")),
        packages=provenance.versions(),
    )
    masks = evaluate.mask_hashes(rois)
    store.save(run_dir, store.record(spec, prepared.labels, masks, tracks, facts))


def _codes(prepared: Prepared) -> Mapping[str, int]:
    """The dataset's codes by name."""
    label_map = prepared.suite.label_map
    return (label_map.codes if isinstance(label_map, CustomLabelMap) else None) or official_codes()


def _same_row(spec: RunSpec, workspace: Path) -> dict[Path, str | None]:
    """{folder: SHA-256 of its predictions} of finished runs of the name that would share a table
    with ``spec``'s and are not it. Those of the same predictions were scored by other code."""
    run_dir = spec.run_dir(workspace)
    rows: dict[Path, str | None] = {}
    for path in sorted(run_dir.parent.glob("[!.]*/result.json")):
        if path.parent == run_dir:
            continue
        try:
            old = store.load_spec(path.parent)
        except BenchError:
            continue  # not readable, so not on the board either
        same = (
            old.split_fingerprint == spec.split_fingerprint
            and old.data_fingerprint == spec.data_fingerprint
            and old.preset == spec.preset
        )
        if same:
            rows[path.parent] = old.predictions_sha256
    return rows


def _spec(prepared: Prepared, name: str, digest: str, workspace: Path) -> RunSpec:
    recipe = Recipe(name=name, summary="label maps made elsewhere")
    return RunSpec(
        **common(prepared, Asked(), workspace),
        backend=name,
        plugin="score",
        distribution="benchbcss",
        distribution_version=__version__,
        extensions=extensions(prepared, recipe),
        recipe=recipe,
        weights=Random(),
        predictions_sha256=digest,
    )
