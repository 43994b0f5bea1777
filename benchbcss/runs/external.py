"""Label maps made by any other tool become a run: checked, copied, scored as ours are."""

from __future__ import annotations

import hashlib
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchbcss import __version__
from benchbcss.contract import IGNORE
from benchbcss.data import dataset as data
from benchbcss.data.labels import LabelMap
from benchbcss.data.store import decode_mask
from benchbcss.errors import DataError, SuiteError
from benchbcss.io import write_bytes
from benchbcss.recipes import Recipe
from benchbcss.results import evaluate, provenance, store
from benchbcss.results.schema import Cost, Training
from benchbcss.results.spec import Parts, RunSpec
from benchbcss.runs.planning import Prepared, clip_spec, is_phantom
from benchbcss.tracks import shared
from benchbcss.tracks.base import Facts
from benchbcss.tracks.semantic import Semantic
from benchbcss.weights import Provenance, Random


def score(
    predictions: Path, prepared: Prepared, *, name: str, codes: str, workspace: Path
) -> tuple[Path, list[str]]:
    """Score a folder or .zip of label maps against the test ROIs of ``prepared``.

    ``codes`` is 'labels' (0..K-1 of the suite's label map) or 'raw22' (BCSS codes). Returns the
    run's folder and warnings about files that no test ROI has. Raises DataError listing every
    missing, mis-sized and mis-coded file.
    """
    if not shared(prepared.suite.tracks, [Semantic.name]):
        raise SuiteError(
            f"The suite '{prepared.suite.name}' has no {Semantic.name} track, so label maps cannot "
            f"be scored in it. Choose another --suite."
        )
    with _folder(predictions) as folder:
        files = {path.name: path for path in sorted(folder.glob("*.png"))}
        if not files:
            raise DataError(f"{predictions} holds no PNG. Pass a folder or .zip of label maps.")
        wanted = prepared.split.test
        problems, maps = [], {}
        digest = hashlib.sha256(codes.encode())
        for roi in wanted:
            if roi not in files:
                problems.append(f"{roi}: missing")
                continue
            try:
                maps[roi] = _read(files[roi], prepared.rois[roi].shape, prepared.labels, codes)
            except DataError as error:
                problems.append(f"{roi}: {error}")
            digest.update(roi.encode() + hashlib.sha256(files[roi].read_bytes()).digest())
        if problems:
            shown = "; ".join(problems[:10])
            more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
            raise DataError(
                f"{len(problems)} of {len(wanted)} predictions in {predictions} cannot be scored: "
                f"{shown}{more}."
            )
        extra = sorted(set(files) - set(wanted))
    spec = _spec(prepared, name, digest.hexdigest(), workspace)
    run_dir = spec.run_dir(workspace)
    track = Semantic()
    target = track.folder(run_dir)
    target.mkdir(parents=True, exist_ok=True)
    store.save_spec(run_dir, spec)
    for roi, labels in maps.items():
        write_bytes(target / roi, track.picture(labels))
    begun = time.time()
    rois = {roi: prepared.rois[roi] for roi in wanted}
    frame = evaluate.frame_of(spec, prepared.labels, rois, ())
    tracks = evaluate.evaluate(frame, [track], rois, run_dir, {track.name: Facts("not known")})
    facts = store.Facts(
        notes={"predictions": {"from": predictions.name, "codes": codes}},
        training=Training(),
        cost=Cost(device="not known", total_seconds=round(time.time() - begun, 2)),
        weights=store.weights_of(spec, Provenance(source="not known: predictions made elsewhere")),
        packages=provenance.versions(),
    )
    masks = evaluate.mask_hashes(rois)
    store.save(run_dir, store.record(spec, prepared.labels, masks, tracks, facts))
    warnings = [f"{len(extra)} file(s) belong to no test ROI: {', '.join(extra[:3])}"] * bool(extra)
    unnamed = sum(int((labels == IGNORE).sum()) for labels in maps.values())
    if unnamed:
        warnings.append(f"{unnamed} pixel(s) are given no class, which counts as a miss")
    return run_dir, warnings


def _read(path: Path, shape: tuple[int, int], labels: LabelMap, codes: str) -> np.ndarray:
    """uint8 [H, W] of labels 0..K-1, 255 for no class: what a prediction leaves out, or calls
    ignored, is a miss wherever it is scored. The target alone decides what is ignored."""
    array = decode_mask(path)
    if array.shape != shape:
        raise DataError(
            f"is {array.shape[1]} x {array.shape[0]} px, its mask is {shape[1]} x {shape[0]}"
        )
    count = len(labels.classes)
    if codes == "raw22":
        known = {code for _, own in labels.classes for code in own} | set(labels.ignore)
        odd = np.setdiff1d(np.unique(array), sorted(known))
        if len(odd):
            pixels = int((array == odd[0]).sum())
            raise DataError(f"value {int(odd[0])} ({pixels} pixels) is no code of the dataset")
        mapped: np.ndarray = labels.lookup[array]
        return mapped
    odd = (array >= count) & (array != IGNORE)
    if odd.any():
        top, pixels = int(array[odd].max()), int(odd.sum())
        raise DataError(
            f"value {top} ({pixels} pixels at or above {count}) is no label; labels are 0.."
            f"{count - 1} ({', '.join(labels.class_names)}). For BCSS codes pass --codes raw22"
        )
    return array


def _spec(prepared: Prepared, name: str, digest: str, workspace: Path) -> RunSpec:
    split = prepared.split
    return RunSpec(
        backend=name,
        plugin="score",
        distribution="benchbcss",
        distribution_version=__version__,
        suite=prepared.suite,
        suite_fingerprint=prepared.suite.fingerprint(),
        label_map_fingerprint=prepared.labels.fingerprint(),
        split_name=split.name,
        split_fingerprint=split.fingerprint(),
        split=Parts(train=split.train, val=split.val, test=split.test),
        sites=dict(split.sites),
        leakage=split.leakage().warnings,
        data_fingerprint=data.fingerprint(prepared.rois.values()),
        data_root=str(prepared.folder.resolve()),
        data_is_phantom=is_phantom(prepared.folder),
        store_root=str((workspace / "store").resolve()),
        preset=prepared.preset,
        recipe=Recipe(name=name, summary="label maps made elsewhere"),
        weights=Random(),
        predictions_sha256=digest,
        clip=clip_spec(prepared.suite.clip),
    )


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """The folder itself, or a .zip's PNGs in a temporary one, whatever folders they lie in."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise DataError(f"{path} does not exist. Pass a folder or .zip of label maps.")
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
            for entry in archive.infolist():
                base = Path(entry.filename).name
                if base.endswith(".png") and not base.startswith("._"):
                    (Path(scratch) / base).write_bytes(archive.read(entry))
            yield Path(scratch)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is neither a folder nor a .zip file.") from error
