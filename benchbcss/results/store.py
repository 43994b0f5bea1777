"""The record in a run folder: read, checked, written. Nothing else writes ``result.json``.

A run folder has one owner at a time, who holds the lock beside it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from benchbcss import io
from benchbcss.errors import DataError, RunError
from benchbcss.io import write_json
from benchbcss.memo import Memo
from benchbcss.mistakes import entries
from benchbcss.results import RESULT, VALIDATION
from benchbcss.results.migrate import lift
from benchbcss.results.schema import (
    METRICS_VERSION,
    SCHEMA_VERSION,
    Cost,
    DataUsed,
    LabelMapUsed,
    Parameters,
    PluginUsed,
    RunResult,
    SplitUsed,
    SuiteUsed,
    TrackResult,
    Training,
    WeightsUsed,
)

if TYPE_CHECKING:
    from benchbcss.data.labels import LabelMap
    from benchbcss.results.spec import RunSpec
    from benchbcss.weights import Provenance

SPEC = "spec.json"
FAILURE = "failure.json"
LOG = "log.txt"
#: by which executor, and as which jobs, the run was handed to a queue
SUBMITTED = "submitted.json"
STATUS = "status.json"
#: what training leaves at its end
_TRAINED = ("training.json", "checkpoints/final.safetensors")
_PRESENT = f'"schema_version": {SCHEMA_VERSION},'.encode()


M = TypeVar("M", bound=BaseModel)


#: seconds that a command waits for a run that somebody may just be looking at
A_MOMENT = 1.0


class Busy(RunError):
    """Another process owns the run folder."""


def lock_file(run_dir: Path) -> Path:
    return run_dir.with_name(f".{run_dir.name}.lock")


def memo_file(run_dir: Path) -> Path:
    """Where checksums of the run's large files are remembered."""
    return run_dir.with_name(f".{run_dir.name}.memo")


@contextmanager
def owned(run_dir: Path, patience: float = 0.0) -> Iterator[None]:
    """Be the only one who writes into ``run_dir``. Raises Busy where another process does, at once
    or after so many seconds: who only looks whether a run is at work holds its lock for a moment.

    The lock lies beside the folder, so that the folder itself may be set aside.
    """
    from filelock import FileLock, Timeout

    path = lock_file(run_dir)
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(timeout=patience)
    except Timeout:
        raise Busy(f"{run_dir} is being worked on by another process.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise RunError(f"{run_dir} cannot be locked: {why}. {io.remedy(error)}") from error
    try:
        yield
    finally:
        lock.release()


def has_record(run_dir: Path) -> bool:
    """Whether there is a record, good or bad: quick, for those who read many."""
    return (run_dir / RESULT).is_file()


def is_finished(run_dir: Path) -> bool:
    """Whether the record parses, is valid, and matches the files beside it; see ``damage``."""
    return has_record(run_dir) and not damage(run_dir)


def is_held(run_dir: Path) -> bool:
    """Whether the run is trained and validated, and is to go no further (``RunSpec.until``)."""
    return seems_held(run_dir) and _is_validated(run_dir)


def seems_held(run_dir: Path) -> bool:
    """The same without a look at the weights, which takes long where they are large."""
    if has_record(run_dir) or io.check(run_dir / VALIDATION) != "ok":
        return False
    try:
        return load_spec(run_dir).until == "training"
    except DataError:
        return False


def _is_validated(run_dir: Path) -> bool:
    return all(io.check(run_dir / name) == "ok" for name in (VALIDATION, *_TRAINED))


def is_reached(run_dir: Path, until: str) -> bool:
    """Whether the run is finished, or as far as ``until`` asks; see ``RunSpec.until``."""
    if has_record(run_dir):
        return is_finished(run_dir)
    return until == "training" and _is_validated(run_dir)


def validation(run_dir: Path) -> tuple[float | None, str]:
    """Mean validation Dice of the weights that are scored, None where there is none, and the track
    that was validated in. Raises DataError."""
    path = run_dir / VALIDATION
    if path.is_file():
        io.verify(path, "Run the same command again: it is made anew.")
        try:
            content = io.read_json(path)
            return content["mean_dice"], str(content["track"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
    training = load(run_dir).training
    return training.best_mean_dice, str((training.model_extra or {}).get("validation_track") or "")


def damage(run_dir: Path) -> list[str]:
    """What is wrong with a run that has a record, one phrase each; every file is read, large ones
    when they are not as they were when last read (see ``memo``).

    Record, specification, and whatever the list of checksums names must be as they were written. A
    checkpoint may be deleted, since no number rests on it any more, but not be altered.
    """
    try:
        result, spec = load(run_dir), load_spec(run_dir)
    except DataError as error:
        return [str(error)]
    if result.fingerprint != spec.fingerprint():
        return [f"{run_dir / RESULT} is the record of another run"]
    names = {RESULT, SPEC, *io.listed(run_dir)}
    memo = Memo(memo_file(run_dir))
    problems = []
    for name in sorted(names):
        state = io.check(run_dir / name, memo.sha256)
        if state != "ok" and not (state == "missing" and name.startswith("checkpoints/")):
            problems.append(f"{name} is {state}")
    return problems


def set_aside_record(run_dir: Path) -> None:
    """Move a record that no longer holds out of every board's sight, while it is made anew."""
    if has_record(run_dir):
        os.replace(run_dir / RESULT, run_dir / ".result.damaged.json")


def load(run_dir: Path) -> RunResult:
    """The record of any schema version. Raises DataError naming the file and what is wrong."""
    return read(run_dir)[0]


def read(run_dir: Path) -> tuple[RunResult, str]:
    """The same, and the SHA-256 of its file."""
    path = run_dir / RESULT
    try:
        raw = io.read_bytes(path)
        digest = hashlib.sha256(raw).hexdigest()
        if _PRESENT in raw[:40]:  # parsed and checked in one pass
            return parsed(RunResult, raw), digest
        return RunResult.model_validate(lift(io.parse_json(raw))), digest
    except (DataError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: {_first(error)}") from error


def parsed(model: type[M], raw: bytes) -> M:
    """A model from JSON, in one pass, or in two where folders' names are no UTF-8: pydantic's
    parser takes no escapes of such bytes. Raises ValueError."""
    if b"\\udc" in raw:
        return model.model_validate(io.parse_json(raw))
    return model.model_validate_json(raw)


def save(run_dir: Path, result: RunResult) -> None:
    write_json(run_dir / RESULT, result.model_dump(mode="json"))


def load_spec(run_dir: Path) -> RunSpec:
    """Raises DataError."""
    from benchbcss.results.spec import RunSpec

    path = run_dir / SPEC
    try:
        return parsed(RunSpec, io.read_bytes(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {_first(error)}") from error


def save_spec(run_dir: Path, spec: RunSpec) -> None:
    """From now on, what is written into the folder is listed with its checksum."""
    io.ensure_list(run_dir)
    write_json(run_dir / SPEC, spec.model_dump(mode="json"))


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        steps, what = next(entries(error))
        where = ".".join(map(str, steps))
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return f"{where}{': ' * bool(where)}{what}{more}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class Facts:
    """What a record says beside its scores."""

    notes: dict[str, Any]
    training: Training
    cost: Cost
    weights: WeightsUsed
    stability: Any = None
    parameters: Parameters | None = None
    floor: bool = False
    not_measured: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)


def weights_of(spec: RunSpec, provenance: Provenance) -> WeightsUsed:
    """What was asked for, and what was loaded."""
    return WeightsUsed(
        requested=str(spec.weights),
        sha256=spec.weights.digest or spec.predictions_sha256,
        provenance=provenance.source,
        tcga_overlap=provenance.tcga_overlap,
        loaded=provenance.record(),
    )


def record(
    spec: RunSpec,
    labels: LabelMap,
    masks: Mapping[str, str],
    tracks: dict[str, TrackResult],
    facts: Facts,
) -> RunResult:
    """The record of a run: its specification, its facts and its scores."""
    return RunResult(
        metrics_version=METRICS_VERSION,
        backend=spec.backend,
        floor=facts.floor,
        plugin=PluginUsed(
            name=spec.plugin,
            distribution=spec.distribution,
            version=spec.distribution_version,
        ),
        run=spec.run_id(),
        name=spec.name,
        fingerprint=spec.fingerprint(),
        seed=spec.seed,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        preset=spec.preset,
        protocol=spec.suite.protocol,
        mpp=spec.suite.mpp,
        suite=_suite_of(spec),
        label_map=_label_map_of(spec, labels),
        split=_split_of(spec),
        data=DataUsed(
            fingerprint=spec.data_fingerprint, phantom=spec.data_is_phantom, masks=dict(masks)
        ),
        weights=facts.weights,
        recipe=spec.recipe.model_dump(mode="json"),
        budget=facts.training.budget,
        selection=spec.selection,
        parameters=facts.parameters,
        evaluated=spec.evaluate is not None,
        not_measured=facts.not_measured,
        training=facts.training,
        stability=facts.stability,
        notes=facts.notes,
        cost=facts.cost,
        packages=facts.packages,
        tracks=tracks,
    )


def _suite_of(spec: RunSpec) -> SuiteUsed:
    return SuiteUsed(
        name=spec.suite.name,
        fingerprint=spec.suite_fingerprint,
        flaws=list(spec.suite.flaws),
        criteria=list(spec.suite.criteria),
        highlight=spec.suite.highlight,
        file=spec.suite.file,
    )


def _label_map_of(spec: RunSpec, labels: LabelMap) -> LabelMapUsed:
    return LabelMapUsed(
        name=labels.name,
        fingerprint=spec.label_map_fingerprint,
        classes={name: list(codes) for name, codes in labels.classes},
        ignore=list(labels.ignore),
        mean=list(labels.mean),
        not_ranked=labels.not_ranked,
    )


def _split_of(spec: RunSpec) -> SplitUsed:
    return SplitUsed(
        name=spec.split_name,
        fingerprint=spec.split_fingerprint,
        train=len(spec.split.train),
        val=len(spec.split.val),
        test=len(spec.split.test),
        leakage=list(spec.leakage),
        scored=spec.evaluate or "test",
    )
