"""What the values of somebody's label maps mean: the suite's labels, its codes, or a map's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchbcss.contract import IGNORE
from benchbcss.data import class_maps
from benchbcss.data.images import Colour
from benchbcss.data.labels import MAX_CODE, LabelMap
from benchbcss.errors import DataError
from benchbcss.runs.external.reading import Source

#: Of a pixel that a prediction gives no class of the suite: an ignored code, a class that only the
#: model knows. Never the last class. Scoring counts it as a miss (pair_counts, ``abstaining``).
NO_CLASS = IGNORE
UNKNOWN = 254  # of a value that the numbering does not have

LABELS, CODES, NNUNET = "labels", "codes", "nnunet"
#: of unknown values beside a class map; more of them look like a resampled or lossy picture
MOST_UNKNOWN = 8


@dataclass(frozen=True)
class Numbering:
    """``table`` uint8 [65536]: value -> label, 255 for no class, 254 where the value is unknown.

    With ``colours`` values are what these give. ``lenient``: an unknown value is no class rather
    than a mistake. ``remarks`` tell the user what is left out.
    """

    name: str
    table: np.ndarray
    advice: str
    colours: Mapping[Colour, int] | None = None
    lenient: bool = False
    remarks: tuple[str, ...] = ()
    names: dict[str, str | None] = field(default_factory=dict)

    def apply(self, values: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
        """Labels uint8 [H, W] of ``values`` uint8 or uint16 [H, W], and the pixels of each value
        that counts as no class because the numbering does not have it. Raises DataError."""
        mapped: np.ndarray = self.table[values]
        odd, counts = np.unique(values[mapped == UNKNOWN], return_counts=True)
        if not len(odd):
            return mapped, {}
        pixels = int(counts.sum())
        many = f" and {len(odd) - 1} other values" if len(odd) > 1 else ""
        if not self.lenient:
            raise DataError(f"value {int(odd[0])}{many} ({pixels} pixels) {self.advice}")
        if len(odd) > MOST_UNKNOWN:
            raise DataError(
                f"value {int(odd[0])}{many} ({pixels} pixels) are not in {self.name}. So many look "
                f"like resampling with interpolation, or lossy export: export it anew"
            )
        mapped[mapped == UNKNOWN] = NO_CLASS
        return mapped, {int(value): int(n) for value, n in zip(odd, counts, strict=True)}


def numbering(
    asked: str,
    source: Source,
    labels: LabelMap,
    codes: Mapping[str, int],
    *,
    instances: bool = False,
) -> Numbering:
    """What ``asked`` means: 'labels', 'codes', 'nnunet', or the path of a class map.

    ``codes`` are the dataset's, by name; with ``instances`` its masks number objects, and every
    number is code 1. Raises DataError for a map that does not fit ``labels``.
    """
    named = {name: int(labels.lookup[code]) for name, code in codes.items()}
    if asked == LABELS:
        return by_labels(labels)
    if asked == CODES:
        return by_codes(labels, instances=instances)
    if asked == NNUNET:
        return _nnunet(source, labels, named)
    return _of_file(Path(asked), labels, named)


def by_labels(labels: LabelMap) -> Numbering:
    """0..K-1 of the suite's label map; 255 is no class."""
    count = len(labels.classes)
    table = np.full(MAX_CODE + 1, UNKNOWN, np.uint8)
    table[:count] = np.arange(count)
    table[IGNORE] = NO_CLASS
    listing = ", ".join(labels.class_names)
    return Numbering(
        LABELS,
        table,
        f"is no label; labels are 0..{count - 1} ({listing}). For the dataset's codes pass "
        f"--labels codes (the same as --codes raw22), for others --labels FILE",
    )


def by_codes(labels: LabelMap, *, instances: bool = False) -> Numbering:
    """The dataset's codes, as its masks are read; those that the suite ignores are no class."""
    table = labels.lookup
    if instances:
        table[1:] = table[1]
    table[table == IGNORE] = NO_CLASS
    return Numbering(CODES, table, "is no code of the dataset")


def _nnunet(source: Source, labels: LabelMap, named: Mapping[str, int]) -> Numbering:
    made = source.dataset_json()
    matched = class_maps.match(
        made.values,
        labels.class_names,
        labels.mean_classes,
        codes=named,
        whose=made.where,
        remedy=f"Say what they are with --labels FILE, which maps each value to a class: "
        f"{_example(labels.class_names)}.",
    )
    remarks = []
    if matched.left_out:
        remarks.append(
            f"{made.where}: {', '.join(matched.left_out)} is no class of the suite; such pixels "
            f"count as misses"
        )
    if matched.lacking:
        remarks.append(f"{made.where} has no {', '.join(matched.lacking)}")
    return _numbering(NNUNET, matched.labels, made, tuple(remarks))


def _of_file(path: Path, labels: LabelMap, named: Mapping[str, int]) -> Numbering:
    if not path.is_file():
        raise DataError(
            f"--labels {path}: there is no such file. Pass labels, codes, nnunet, or a class map "
            f"(YAML, JSON or CSV) that says: {_example(labels.class_names)}."
        )
    made = class_maps.read(path)
    class_maps.targets(made, labels.class_names, named)
    if made.names:
        raise DataError(
            f"The class map {path} maps names, such as '{next(iter(made.names))}', and label maps "
            f"hold values. Write {_example(labels.class_names)}."
        )
    if made.values and made.colours:
        raise DataError(f"The class map {path} holds both values and colours. Keep one kind.")
    entries = made.values or dict(enumerate(made.colours.values()))
    table = {v: class_maps.label_of(n, labels.class_names, named) for v, n in entries.items()}
    lacking = [labels.class_names[m] for m in labels.mean_classes if m not in table.values()]
    remarks = (f"{path} has no {', '.join(lacking)}",) if lacking else ()
    return _numbering(path.name, table, made, remarks)


def _numbering(
    name: str, table: Mapping[int, int], made: class_maps.ClassMap, remarks: tuple[str, ...]
) -> Numbering:
    full = np.full(MAX_CODE + 1, UNKNOWN, np.uint8)
    for value, label in table.items():
        full[value] = NO_CLASS if label == IGNORE else label
    colours = {colour: index for index, colour in enumerate(made.colours)} or None
    return Numbering(name, full, "", colours, True, remarks, made.plain())


def _example(classes: Sequence[str]) -> str:
    return f"'0: {classes[0]}'" + (f", '1: {classes[1]}'" if len(classes) > 1 else "")
