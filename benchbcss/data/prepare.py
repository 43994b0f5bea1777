"""Look at a folder and write a suite that fits it, with a split grouped by patient.

What the files do not say (what a code means, um per pixel, whose tissue it is) is written as a
comment for a person to settle, never guessed in silence.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from benchbcss import yaml_text
from benchbcss.data import bcss, clues, palettes
from benchbcss.data.class_maps import ClassMap
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.proposal import Proposal, suite_text
from benchbcss.data.ramps import look_interpolated
from benchbcss.data.reader import LAST, Reader, Reading, choose, matched, open_reader
from benchbcss.data.scale import scale
from benchbcss.data.splits import PARTS, bcss_regions, region_of
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError, DataError, InputError
from benchbcss.io import write_bytes
from benchbcss.names import LONGEST, problem, shown
from benchbcss.progress import SILENT, Progress

SHARES = {"test": 0.25, "val": 0.15}  # of the ROIs; train is the rest
MOST_CLASSES = 254


def look(
    folder: Path,
    store: TileStore,
    reading: Reading,
    classes: Path | None = None,
    progress: Progress = SILENT,
) -> Proposal:
    """Decode everything in ``folder`` and propose; ``classes`` is a file that names its codes or
    colours. Raises DataError naming what cannot be used."""
    made = clues.class_names(folder, classes)
    source, reading = _opened(folder, store, reading, made)
    rois = _decoded(source, progress)
    notes: list[str] = []
    if not made and not reading.instances and clues.are_instances(rois, MOST_CLASSES):
        # rightly or not: the comment says how to take them for classes
        reading = replace(reading, reader=LAST, instances=True)
        notes.append(
            "the masks number objects (1, 2, 3, ... in every image, one piece each), so every "
            "number is read as one class: where they are classes, remove 'instances' and name them"
        )
        source = Dataset(folder, store, reading)
        rois = _decoded(source, progress)
    pixels: Counter[int] = Counter()
    for roi in rois.values():
        pixels.update(roi.mask_entry.codes)
    if len(pixels) > MOST_CLASSES:
        raise DataError(
            f"The masks in {folder} have {len(pixels)} different values; at most {MOST_CLASSES} "
            f"classes fit. They are no instance numbers either, of which each is one piece: were "
            f"they resampled with interpolation? Export them anew with nearest neighbour."
        )
    if len(pixels) == 1:
        notes.append(f"every mask is {next(iter(pixels))} throughout: there are no classes to tell")
    if not made and not reading.colours and not reading.instances:
        masks = {source.reader.source(roi).mask: rois[roi].mask_entry.palette for roi in rois}
        if wrong := palettes.disagreement(masks):
            raise DataError(
                f"In {folder} {wrong}. Say which with --classes FILE: lines such as "
                f"'\"#ff0000\": CLASS' for colours, '1: CLASS' for numbers."
            )
    if wrong := look_interpolated(roi.mask_entry.ramps for roi in rois.values()):
        notes.append(f"{wrong}: if so, export the masks anew with nearest neighbour")
    if left_out := clues.left_out(folder, source.reader):
        notes.append(left_out)
    mpp, about_scale = scale(source.reader.source(roi).image for roi in rois)
    patients, about_patients = _patients(source, folder, rois, reading)
    parts, about_parts = _parts(source.reader, folder, rois, patients)
    official = (
        made is None
        and reading.reader == "bcss"
        and (source.code_table() is not None or {*map(region_of, rois)} <= bcss_regions())
    )
    return Proposal(
        str(reading.reader),
        reading,
        rois,
        dict(sorted(pixels.items())),
        patients,
        parts,
        official,
        _names(made, reading, pixels) if made else {},
        (*notes, *about_scale, *about_patients, *about_parts),
        mpp,
    )


def _opened(
    folder: Path, store: TileStore, reading: Reading, made: ClassMap | None
) -> tuple[Dataset, Reading]:
    """The folder, and how it is read: its reader, patterns that fit its names, its colours."""
    reading = replace(reading, reader=choose(folder, reading))
    reader = open_reader(folder, reading)
    barcodes = any(matched(bcss.PATIENT, roi, "patient") for roi in reader.ids)
    if reading.reader != "bcss" and barcodes:
        reading = replace(
            reading,
            patient_pattern=reading.patient_pattern or bcss.PATIENT.lstrip("^").rstrip("-"),
            site_pattern=reading.site_pattern or bcss.SITE.lstrip("^").rstrip("-"),
        )
    by_colour = bool(made and made.colours and not made.values)
    if colours := palettes.colours([reader.source(roi).mask for roi in reader.ids], by_colour):
        if made:  # in its order, and with colours that no mask happens to have
            colours = {c: code for code, c in enumerate(dict.fromkeys((*made.colours, *colours)))}
        reading = replace(reading, colours=colours)
    return Dataset(folder, store, reading), reading


def _patients(
    source: Dataset, folder: Path, rois: Mapping[str, Roi], reading: Reading
) -> tuple[dict[str, str], list[str]]:
    """({ROI: patient}, notes): as the reader knows them, else as a table in the folder does."""
    patients = {name: who for name in rois if (who := source.reader.patient(name))}
    notes = []
    if not patients:
        patients, table = clues.patients(folder, rois, reading.pairs)
        if patients:
            notes.append(f"patients are those of {table}")
    if len(patients) < len(rois):
        notes.append(
            f"patients are unknown for {len(rois) - len(patients)} of {len(rois)} ROIs: fill the "
            f"column 'patient' of the split's CSV, or set patient_pattern, before trusting it"
        )
    return patients, notes


def _decoded(source: Dataset, progress: Progress) -> dict[str, Roi]:
    """Every ROI. Raises DataError with the first problems."""
    rois, problems = {}, []
    for name in progress.counted(source.names, doing="reading"):
        try:
            rois[name] = source.roi(name)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(
            f"{len(problems)} of {len(source.names)} ROIs cannot be read: {' '.join(problems[:3])}"
        )
    return rois


def _names(made: ClassMap, reading: Reading, pixels: Mapping[int, int]) -> dict[int, str | None]:
    """Names of codes, by the class map's values or by its colours. Raises DataError where a code
    has none."""
    names = dict(made.values)
    if reading.colours:
        by_code = {code: colour for colour, code in reading.colours.items()}
        names = {
            code: made.colours[colour] for code, colour in by_code.items() if colour in made.colours
        }
    shown = {code: f"#{bytes(colour).hex()}" for colour, code in reading.colours.items()}
    absent = [str(shown.get(code, code)) for code in sorted(pixels) if code not in names]
    if absent:
        kind = "colours" if reading.colours else "values"
        raise DataError(
            f"{made.where} does not name the masks' {kind} {', '.join(absent[:8])}. Add them there "
            f"(null for no class), or pass another file with --classes FILE."
        )
    return names


def _parts(
    reader: Reader, folder: Path, rois: Mapping[str, Roi], patients: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """({ROI: part}, notes): the parts that folders or names say, where they can be kept."""
    paths = {}
    for roi in rois:
        image = reader.source(roi).image
        inside = image.relative_to(folder) if image.is_relative_to(folder) else Path(image.name)
        paths[roi] = PurePosixPath(inside.as_posix())
    named = clues.named_parts(paths)
    if not named:
        return propose_split(rois, patients), []
    groups = _groups(rois, patients)
    if any(len({named[roi] for roi in group}) > 1 for group in groups):
        note = "the parts in the files' names share patients or images, so they are not kept"
        return propose_split(rois, patients), [note]
    present = set(named.values())
    notes = [f"the parts {', '.join(p for p in PARTS if p in present)} are those in files' names"]
    if "test" not in present:
        named = {roi: "test" if part == "val" else part for roi, part in named.items()}
        notes.append("there is no test part, so the names' val is test")
    if "train" not in present:
        note = "the parts in the files' names have nothing to train on, so they are not kept"
        return propose_split(rois, patients), [note]
    rest = [group for group in groups if named[group[0]] == "train"]
    if "val" not in named.values() and len(rest) > 1:
        wanted = max(1, round(SHARES["val"] * sum(map(len, rest))))
        for group in _shuffled(rest)[:-1]:
            if wanted <= 0:
                break
            named |= dict.fromkeys(group, "val")
            wanted -= len(group)
        notes.append("val is taken from the names' train")
    return named, notes


def propose_split(rois: Mapping[str, Roi], patients: Mapping[str, str]) -> dict[str, str]:
    """{ROI: part}; a patient's ROIs, and identical images, stay together.

    Groups are taken in an order that depends on their names alone. Raises DataError when there are
    fewer than two groups.
    """
    groups = _groups(rois, patients)
    if len(groups) < 2:
        raise DataError(
            "All ROIs are of one patient or one image, so nothing can be held out for a test."
        )
    largest = max(groups, key=len)
    groups.remove(largest)
    groups = _shuffled(groups)
    wanted = {part: max(1, round(share * len(rois))) for part, share in SHARES.items()}
    parts = dict.fromkeys(largest, "train")
    for place, names in enumerate(groups):
        empty = [part for part in wanted if part not in parts.values()]
        if len(groups) - place <= len(empty):
            part = empty[0]  # every part gets a group while there are any
        else:
            part = next((part for part in wanted if wanted[part] > 0), "train")
        if part in wanted:
            wanted[part] -= len(names)
        parts |= dict.fromkeys(names, part)
    return parts


def _shuffled(groups: list[list[str]]) -> list[list[str]]:
    """In an order that depends on names alone, and not on what they say."""
    return sorted(groups, key=lambda names: hashlib.sha256(names[0].encode()).hexdigest())


def _groups(rois: Mapping[str, Roi], patients: Mapping[str, str]) -> list[list[str]]:
    """ROIs that share a patient or an image, directly or through others; sorted."""
    leader = {name: name for name in rois}

    def head(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    first: dict[tuple[str, str], str] = {}
    for name in sorted(rois):
        ties = [("image", rois[name].image_entry.pixels)]
        if name in patients:
            ties.append(("patient", patients[name].casefold()))
        for tie in ties:
            leader[head(name)] = head(first.setdefault(tie, name))
    groups: dict[str, list[str]] = {}
    for name in sorted(rois):
        groups.setdefault(head(name), []).append(name)
    return list(groups.values())


def write(proposal: Proposal, folder: Path, suite: Path) -> tuple[Path, Path]:
    """The suite file and its split's CSV beside it. Raises InputError where one exists, or the
    suite could not be called so."""
    from benchbcss.suites import mistakes

    if not suite.name.lower().endswith(yaml_text.ENDINGS):
        raise InputError(
            f"{suite} is not named as a suite file. Pass --output NAME.yaml; the split is written "
            f"beside it."
        )
    if why := problem(suite.stem):
        raise InputError(
            f"The suite in {suite} cannot be called {shown(suite.stem)}: {why}. Pass another "
            f"--output NAME.yaml."
        )
    table = suite.with_name("splits.csv")
    taken = table.exists() and suite.stem != suite_name(folder)  # a split of the user's own, say
    if taken or suite.parent != folder:
        table = suite.with_name(f"{suite.stem}-splits.csv")
    for path in (suite, table):
        if path.exists():
            raise InputError(
                f"{path} exists already and is left as it is. Remove it, or pass --output FILE."
            )
    split = table.name if suite.parent == folder else str(table.resolve())
    try:
        contents = (proposal.splits_csv.encode(), suite_text(proposal, folder, split).encode())
    except UnicodeEncodeError as error:
        raise InputError(
            f"{folder}, or a name in it, holds bytes that are no UTF-8, which a suite cannot say. "
            f"Rename it."
        ) from error
    try:
        suite.parent.mkdir(parents=True, exist_ok=True)
        for path, content in zip((table, suite), contents, strict=True):
            write_bytes(path, content)
    except (OSError, BenchError) as error:
        raise InputError(
            f"{suite} cannot be written: {error} Pass --output FILE in a folder of yours."
        ) from error
    if problems := mistakes(suite):  # names that a file gives are no classes, say
        for path in (table, suite):
            path.unlink()
        raise InputError(f"No suite can be written of this: {problems[0].partition(': ')[2]}")
    return suite, table


def suite_name(folder: Path) -> str:
    """A suite's name from its folder's: lower case, digits and single hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", os.path.basename(os.path.realpath(folder)).lower())
    name = name[: LONGEST // 2].strip("-")
    return "own" if problem(name) else name
