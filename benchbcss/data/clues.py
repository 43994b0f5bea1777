"""What a folder says beside its pixels: parts in names, patients in tables, names of classes.

``prepare`` asks here; each answer is empty where the folder does not say it of every ROI.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from scipy import ndimage

from benchbcss.data import class_maps
from benchbcss.data.class_maps import ClassMap
from benchbcss.data.dataset import Roi
from benchbcss.data.files import pictures
from benchbcss.data.reader import Reader
from benchbcss.data.tables import read_table
from benchbcss.errors import DataError
from benchbcss.names import printable

DATASET_JSON = "dataset.json"  # nnU-Net's
_WORDS = {
    "train": ("train", "training", "trn", "imagestr"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing", "tst", "imagests"),
}
_PART_OF = {word: part for part, words in _WORDS.items() for word in words}
#: of columns, the surest first: a case may be a slide or a block
_NAMES = ("patient", "patientid", "patientname", "subject", "subjectid", "case", "caseid")
_SAMPLED = 24  # masks that are looked at for instance numbers
_OBJECTS = 200  # of each of them
_ONE_PIECE = 0.9  # share of objects that are one component: others are cut by the image's border
_FEWEST = 4  # numbers; with fewer, classes of which each ROI has one piece look the same


def named_parts(paths: Mapping[str, PurePosixPath]) -> dict[str, str]:
    """{ROI: part} where the folders or the names of all ROIs say it (``test/``, ``testA_1``), and
    more than one part is named."""
    parts = {roi: _part(path) for roi, path in paths.items()}
    if None in parts.values() or len(set(parts.values())) < 2:
        return {}
    return {roi: part for roi, part in parts.items() if part is not None}


def _part(path: PurePosixPath) -> str | None:
    for folder in path.parts[:-1]:
        for word in re.split(r"[\s_.-]+", folder.lower()):
            if word in _PART_OF:
                return _PART_OF[word]
    first = re.match(r"((?i:[a-z]+?))[A-Z]?\d*(?=[\s_.-])", path.name)
    return _PART_OF.get(first[1].lower()) if first else None


def patients(folder: Path, rois: Mapping[str, Roi], skip: str | None) -> tuple[dict[str, str], str]:
    """({ROI: patient}, the table's name) of a CSV in ``folder`` that has all of ``rois``, and no
    two patients for one."""
    stems = {_bare(roi): roi for roi in rois}
    for path in sorted(folder.glob("*.[cC][sS][vV]")):
        try:
            rows = [] if path.name == skip else [row for _, row in read_table(path, ())]
        except DataError:
            continue
        plain = {re.sub(r"[\s_-]+", "", column): column for column in (rows[0] if rows else ())}
        who = next((plain[name] for name in _NAMES if name in plain), None)
        for column in plain.values() if who else ():
            known: dict[str, set[str]] = {}
            for row in rows:
                known.setdefault(_bare(row[column]), set()).add(row[who or ""])
            table = {name: min(said) for name, said in known.items() if len(said) == 1}
            if column != who and all(table.get(stem) for stem in stems):
                return {roi: table[stem] for stem, roi in stems.items()}, path.name
    return {}, ""


def _bare(name: str) -> str:
    plain = unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2])
    return re.sub(r"\.(png|tiff?|bmp|jpe?g|webp)$", "", plain, flags=re.IGNORECASE)


def left_out(folder: Path, reader: Reader) -> str:
    """Which pictures in ``folder`` are of no ROI; empty where none is."""
    read: set[Path] = set()
    for roi in reader.ids:
        source = reader.source(roi)
        read |= {source.image, source.mask}
    try:
        others = [path.relative_to(folder) for path in pictures(folder) if path not in read]
    except DataError:  # a folder beside the data that may not be read
        return ""
    if not others:
        return ""
    places = sorted({printable(str(path.parent)) for path in others})
    return (
        f"{len(others)} picture(s) are of no ROI and left out, in: {', '.join(places[:5])} (where "
        f"they should be read, name the folders with --images and --masks, or the pairs with "
        f"--pairs)"
    )


def class_names(folder: Path, given: Path | None) -> ClassMap | None:
    """Names of codes or colours from the file ``given``, else from nnU-Net's ``dataset.json``.

    Raises DataError for a file that is given and says nothing of codes or colours."""
    path = given or folder / DATASET_JSON
    if given is None and not path.is_file():
        return None
    try:
        made = class_maps.read(path)
    except DataError:
        if given is not None:
            raise
        return None
    if given is not None and not (made.values or made.colours):
        raise DataError(
            f"The class map {given} names classes without their values or colours. Write lines "
            f"such as '1: CLASS' or '\"#ff0000\": CLASS'."
        )
    return made if made.values or made.colours else None


def are_instances(rois: Mapping[str, Roi], most_classes: int) -> bool:
    """Whether masks number objects rather than classes.

    Either there are more numbers than ``most_classes``, or nearly every mask has 1..k without a
    gap, for a k that differs; and nearly every number is one connected piece.
    """
    numbers = [{code for code in roi.mask_entry.codes if code} for roi in rois.values()]
    distinct = set().union(*numbers)
    gapless = [codes for codes in numbers if codes == set(range(1, len(codes) + 1))]
    numbered = (
        len(distinct) >= _FEWEST
        and len(gapless) >= _ONE_PIECE * len(numbers)
        and len({len(codes) for codes in numbers}) > 1
    )
    if not numbered and len(distinct) <= most_classes:
        return False
    pieces = [count for roi in list(rois.values())[:_SAMPLED] for count in _pieces(roi.codes())]
    return bool(pieces) and pieces.count(1) >= _ONE_PIECE * len(pieces)


def _pieces(codes: np.ndarray) -> list[int]:
    """Of each number, how many 8-connected components it has."""
    counts: list[int] = []
    for number, box in enumerate(ndimage.find_objects(codes.astype(np.int32)), start=1):
        if box is not None and len(counts) < _OBJECTS:
            counts.append(int(ndimage.label(codes[box] == number, np.ones((3, 3)))[1]))
    return counts
