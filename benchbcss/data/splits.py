"""Which ROI trains, validates and tests, and whether anything leaks between the parts."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

from benchbcss.errors import DataError, UnknownNameError

PARTS = ("train", "val", "test")
BUILT_IN = ("brief", "official", "eva")
_TCGA = re.compile(r"^(TCGA-([A-Z0-9]{2})-[A-Z0-9]{4})-")


def patient_of(filename: str) -> str:
    """The patient of an ROI: the TCGA barcode, else the name itself (one ROI per patient)."""
    match = _TCGA.match(filename)
    return match.group(1) if match else Path(filename).stem


def institute_of(filename: str) -> str:
    """The tissue source site of a TCGA barcode ('A2'), '?' for other names."""
    match = _TCGA.match(filename)
    return match.group(2) if match else "?"


@dataclass(frozen=True)
class Leakage:
    """Overlaps between parts; ``errors`` forbid a run, ``warnings`` go into the record."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """A split restricted to the files present."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    unassigned: tuple[str, ...] = field(default=())
    absent: tuple[str, ...] = field(default=())

    def part(self, name: str) -> tuple[str, ...]:
        files: tuple[str, ...] = getattr(self, name)
        return files

    def fingerprint(self) -> str:
        """SHA-256 of the assignment of the files present."""
        content = {part: sorted(self.part(part)) for part in PARTS}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def leakage(self) -> Leakage:
        """Patients in two parts are errors; institutes in two parts are warnings."""
        errors, warnings = [], []
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            shared = _shared(patient_of, self.part(first), self.part(second))
            if shared:
                errors.append(
                    f"Split '{self.name}': {len(shared)} patient(s) in both {first} and {second}: "
                    f"{', '.join(shared[:5])}. Move each patient to one part."
                )
            if second == "val" or first == "train":
                sites = [
                    site
                    for site in _shared(institute_of, self.part(first), self.part(second))
                    if site != "?"
                ]
                if sites:
                    effect = "val is optimistic" if second == "val" else "test is optimistic"
                    warnings.append(
                        f"institutes in both {first} and {second} ({effect}): {', '.join(sites)}"
                    )
        return Leakage(tuple(errors), tuple(warnings))


def _shared(key, first: Iterable[str], second: Iterable[str]) -> list[str]:  # type: ignore[no-untyped-def]
    return sorted({key(name) for name in first} & {key(name) for name in second})


@lru_cache(maxsize=1)
def _table() -> list[dict[str, str]]:
    path = Path(str(resources.files("benchbcss.data"))) / "bcss_splits.csv"
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def built_in_split(name: str) -> dict[str, str]:
    """{file name: part} of one of the published splits of all 151 ROIs."""
    if name not in BUILT_IN:
        raise UnknownNameError(
            "split", name, BUILT_IN, "Or pass a CSV with the columns filename,split."
        )
    return {row["filename"]: row[name] for row in _table()}


def read_split(path: Path) -> dict[str, str]:
    """A CSV ``filename,split`` -> {file name: part}. Raises DataError naming file and row."""
    assignment: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            if not {"filename", "split"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{path} needs the columns filename,split; it has "
                    f"{','.join(reader.fieldnames or ())}."
                )
            for number, row in enumerate(reader, start=2):
                filename, part = (row["filename"] or "").strip(), (row["split"] or "").strip()
                if part not in PARTS:
                    raise DataError(
                        f"{path}, row {number}: split '{part}' is not one of {', '.join(PARTS)}."
                    )
                if assignment.setdefault(filename, part) != part:
                    raise DataError(f"{path}, row {number}: '{filename}' is in two parts.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The split file {path} cannot be read: {error}") from error
    return assignment


def load_split(name: str, present: Iterable[str]) -> Split:
    """The split ``name`` (built in, or the path of a CSV) over the files ``present``.

    Raises DataError when train or test is left without an ROI.
    """
    is_file = name.lower().endswith(".csv") or Path(name).is_file()
    assignment = read_split(Path(name)) if is_file else built_in_split(name)
    files = sorted(present)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    unassigned = []
    for filename in files:
        part = assignment.get(filename)
        if part is None:
            unassigned.append(filename)
        else:
            parts[part].append(filename)
    label = Path(name).name if is_file else name
    for part in ("test", "train"):
        if not parts[part]:
            raise DataError(
                f"The split '{label}' has no {part} ROI among the {len(files)} present; pass "
                f"--split with a CSV (filename,split) that assigns the files you have, "
                f"for example a splits.csv beside the images."
            )
    absent = tuple(sorted(set(assignment) - set(files)))
    return Split(
        label,
        tuple(parts["train"]),
        tuple(parts["val"]),
        tuple(parts["test"]),
        tuple(unassigned),
        absent,
    )
