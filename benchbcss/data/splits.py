"""Which ROI trains, validates and tests, and whether anything leaks between the parts."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from benchbcss.data.bcss import PATIENT, SITE
from benchbcss.data.pairing import place_of
from benchbcss.data.reader import matched
from benchbcss.data.tables import near_miss, read_table
from benchbcss.errors import DataError, UnknownNameError

PARTS = ("train", "val", "test")
BUILT_IN = ("brief", "official", "eva")
Origin = Callable[[str], str | None]
_REGION = re.compile(r"TCGA-[^_]+_xmin\d+_ymin\d+(?=_|\.)")  # then the scale: _MPP-0.2500


def is_table(name: str) -> bool:
    """Whether a split's name is that of a file, however its ending is written."""
    return name.lower().endswith((".csv", ".tsv"))


def patient_of(filename: str) -> str | None:
    """The patient of an ROI by its TCGA barcode, None for other names."""
    return matched(PATIENT, filename, "patient")


def site_of(filename: str) -> str | None:
    """The tissue source site of a TCGA barcode ('A2'), None for other names."""
    return matched(SITE, filename, "site")


def institute_of(filename: str) -> str:
    """``site_of``, '?' where that is not known."""
    return site_of(filename) or "?"


@dataclass(frozen=True)
class Leakage:
    """Overlaps between parts; ``errors`` forbid a run, ``warnings`` go into the record.

    ``patients_unknown`` counts ROIs whose patient is not known: with any, nothing is claimed of
    patients that the known ones do not show.
    """

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    patients_unknown: int = 0

    @property
    def claim(self) -> str:
        """What may be said of patients when there is no error."""
        if self.patients_unknown:
            return f"patients are unknown for {self.patients_unknown} ROI(s): no claim about them"
        return "no patient is in two parts"


@dataclass(frozen=True)
class Split:
    """A split restricted to the files present; ``patients`` and ``sites`` of those known.

    ``hints`` name files of the split that are not there beside ones that are and look like them.
    """

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    unassigned: tuple[str, ...] = field(default=())
    absent: tuple[str, ...] = field(default=())
    patients: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)
    hints: tuple[str, ...] = field(default=())

    def part(self, name: str) -> tuple[str, ...]:
        files: tuple[str, ...] = getattr(self, name)
        return files

    def fingerprint(self) -> str:
        """SHA-256 of the assignment of the files present."""
        return _hashed({part: sorted(self.part(part)) for part in PARTS})

    def sites_fingerprint(self, part: str) -> str:
        """SHA-256 of the institutes of a part's files."""
        return _hashed({name: self.sites.get(name) for name in self.part(part)})

    def leakage(self) -> Leakage:
        """Patients in two parts are errors; institutes in two parts are warnings."""
        errors, warnings = [], []
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            shared = _shared(self.patients, self.part(first), self.part(second))
            if shared:
                errors.append(
                    f"Split '{self.name}': {len(shared)} patient(s) in both {first} and {second}: "
                    f"{', '.join(shared[:5])}. Move each patient to one part."
                )
            if second == "val" or first == "train":
                sites = _shared(self.sites, self.part(first), self.part(second))
                if sites:
                    effect = "val is optimistic" if second == "val" else "test is optimistic"
                    warnings.append(
                        f"institutes in both {first} and {second} ({effect}): {', '.join(sites)}"
                    )
        files = [file for part in PARTS for file in self.part(part)]
        unknown = sum(file not in self.patients for file in files)
        if unknown:
            warnings.append(
                f"patients are unknown for {unknown} of {len(files)} ROIs: no claim that none is "
                f"in two parts. Add a column 'patient' to the split's CSV, or a patient_pattern "
                f"to the suite."
            )
        return Leakage(tuple(errors), tuple(warnings), unknown)


def _shared(origin: Mapping[str, str], first: Iterable[str], second: Iterable[str]) -> list[str]:
    """What known origins two parts have in common, whatever their capitals; each way to write them
    is named."""
    written: dict[str, set[str]] = {}
    parts = []
    for part in (first, second):
        parts.append({origin[name].casefold() for name in part if name in origin})
        for name in part:
            if name in origin:
                written.setdefault(origin[name].casefold(), set()).add(origin[name])
    return sorted(" / ".join(sorted(written[key])) for key in parts[0] & parts[1])


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


def region_of(filename: str) -> str:
    """Slide and corner of a BCSS ROI, which its file is named after at any scale; other names as
    they are, without folder and extension."""
    match = _REGION.match(_plain(filename))
    return match[0] if match else _bare(filename)


@lru_cache(maxsize=1)
def bcss_regions() -> frozenset[str]:
    """``region_of`` the 151 ROIs of BCSS."""
    return frozenset(region_of(row["filename"]) for row in _table())


@dataclass(frozen=True)
class Assignment:
    """What a split file says of one ROI."""

    part: str
    patient: str | None = None
    site: str | None = None


def _hashed(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_split(path: Path) -> dict[str, Assignment]:
    """A CSV ``filename,split`` (and ``patient``, ``site``) -> {file name: assignment}.

    Raises DataError naming file and row.
    """
    assignments: dict[str, Assignment] = {}
    for number, row in read_table(path, ("filename", "split")):
        filename, part = row["filename"], row["split"].lower()
        if not filename:
            raise DataError(f"{path}, row {number}: there is no file name.")
        if part not in PARTS:
            near = next((p for p in PARTS if part.startswith(p)), None) or near_miss(part, PARTS)
            hint = f" Write '{near}'." if near else " Leave out rows of ROIs that are in no part."
            raise DataError(
                f"{path}, row {number}: split '{row['split']}' is not one of {', '.join(PARTS)}."
                f"{hint}"
            )
        assignment = Assignment(part, row.get("patient") or None, row.get("site") or None)
        before = assignments.setdefault(filename, assignment)
        if before.part != part:
            raise DataError(f"{path}, row {number}: '{filename}' is in two parts.")
        if before != assignment:
            raise DataError(f"{path}, row {number}: '{filename}' has two patients or sites.")
    return assignments


def load_split(
    name: str,
    present: Iterable[str],
    patient: Origin = patient_of,
    site: Origin = site_of,
) -> Split:
    """The split ``name`` (built in, or the path of a CSV) over the files ``present``.

    A CSV's columns ``patient`` and ``site`` come before what ``patient`` and ``site`` say of a
    file. Its names may lack the extension or a folder, or have another Unicode form; those of a
    split that is built in may have another scale. Raises DataError when train or test is left
    without an ROI.
    """
    is_file = is_table(name) or Path(name).is_file()
    if is_file:
        named = read_split(Path(name))
    else:
        named = {file: Assignment(part) for file, part in built_in_split(name).items()}
    files = sorted(present)
    label = Path(name).name if is_file else name
    ways = _WAYS if is_file else (*_WAYS, (region_of, lambda name: [region_of(name)]))
    assigned, absent = _meet(named, files, label, ways)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    unassigned = []
    patients: dict[str, str] = {}
    sites: dict[str, str] = {}
    for filename in files:
        assignment = assigned.get(filename)
        if assignment is None:
            unassigned.append(filename)
            continue
        parts[assignment.part].append(filename)
        for origins, known in (
            (patients, assignment.patient or patient(filename)),
            (sites, assignment.site or site(filename)),
        ):
            if known:
                origins[filename] = known
    hints = _near_misses(absent, unassigned)
    for part in ("test", "train"):
        if not parts[part]:
            guess = f" ({'; '.join(hints[:3])})" if hints else ""
            raise DataError(
                f"The split '{label}' has no {part} ROI among the {len(files)} present{guess}; "
                f"pass --split with a CSV (filename,split) that assigns the files you have, "
                f"for example a splits.csv beside the images."
            )
    return Split(
        label,
        tuple(parts["train"]),
        tuple(parts["val"]),
        tuple(parts["test"]),
        tuple(unassigned),
        absent,
        patients,
        sites,
        hints,
    )


def _meet(
    named: Mapping[str, Assignment],
    files: list[str],
    label: str,
    ways: Sequence[_Way],
) -> tuple[dict[str, Assignment], tuple[str, ...]]:
    """({file present: assignment}, names of the split that no file has).

    Names are compared as they are, then in each of ``ways``. What fits two files fits none."""
    assigned = {file: named[file] for file in files if file in named}
    left = [name for name in named if name not in assigned]
    by = {file: file for file in assigned}
    met: set[str] = set()
    for of_file, of_name in ways:
        free: dict[str, list[str]] = {}
        for file in files:
            if file not in assigned:
                free.setdefault(of_file(file), []).append(file)
        for name in left:
            candidates = next((free[key] for key in of_name(name) if key in free), [])
            if len(candidates) != 1:
                continue
            file = candidates[0]
            if file in assigned and assigned[file] != named[name]:
                raise DataError(
                    f"The split '{label}' names '{file}' twice, as '{by[file]}' and as '{name}', "
                    f"and they disagree. Keep one."
                )
            assigned[file], by[file] = named[name], name
            met.add(name)
        left = [name for name in left if name not in met]
    return assigned, tuple(sorted(left))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2])


def _bare(name: str) -> str:
    """Without an image's extension; what else follows a dot is part of the name."""
    plain = _plain(name)
    stem, dot, extension = plain.rpartition(".")
    images = ("png", "tif", "tiff", "bmp", "jpg", "jpeg", "webp")
    return stem if dot and extension.lower() in images else plain


def _ends(name: str) -> list[str]:
    """What an ROI of that path may be called: with its folders, which join its name where a stem
    occurs in several, from all of them to none."""
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))
    parts = (*place_of(path), _bare(name))
    return ["__".join(parts[start:]) for start in range(len(parts))]


#: in which the file of a name is looked for: what a file is called, and what a name may mean
_Way = tuple[Callable[[str], str], Callable[[str], list[str]]]
_WAYS: tuple[_Way, ...] = ((_bare, _ends), (_plain, lambda name: [_plain(name)]))


def _near_misses(absent: Iterable[str], unassigned: list[str]) -> tuple[str, ...]:
    """Names of the split beside files that look like them: a typing error, most likely."""
    if not unassigned:
        return ()
    folded = {_bare(file).casefold(): file for file in unassigned}
    hints = []
    for name in list(absent)[:200]:
        like = folded.get(_bare(name).casefold()) or near_miss(name, unassigned, 0.9)
        if like:
            hints.append(f"'{name}' is in the split, '{like}' in the folder")
    return tuple(hints[:10])
