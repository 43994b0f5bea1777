"""Codes and label maps: what a mask's pixel values mean.

A label map groups code names into classes; names resolve to codes through a code table. The
dataset's own table, where it has one, must agree with the official one code by code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss import yaml_text
from benchbcss.contract import IGNORE
from benchbcss.data.tables import read_table
from benchbcss.errors import DataError, SuiteError, UnknownNameError

if TYPE_CHECKING:  # a plan needs the codes, not the table
    import numpy as np

UNKNOWN = 254  # lookup-table value of a code that the code table does not have
MAX_CODE = 65535  # masks have one channel of 8 or 16 bits


@dataclass(frozen=True)
class LabelMap:
    """Classes as sets of mask codes. ``classes[i]`` is (name, codes) of label ``i``."""

    name: str
    classes: tuple[tuple[str, tuple[int, ...]], ...]
    ignore: tuple[int, ...]
    mean: tuple[str, ...]
    not_ranked: str | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.classes)

    @property
    def mean_classes(self) -> tuple[int, ...]:
        """Labels that count in the mean."""
        return tuple(self.class_names.index(name) for name in self.mean)

    @property
    def tissue_classes(self) -> tuple[int, ...]:
        """Labels that count as tissue in the tissue Dice: those in the mean, never 'other'."""
        return tuple(i for i in self.mean_classes if self.class_names[i] != "other")

    @property
    def codes(self) -> frozenset[int]:
        """Every code that the map knows, ignored ones among them."""
        return frozenset(self.ignore).union(*(codes for _, codes in self.classes))

    @property
    def lookup(self) -> np.ndarray:
        """uint8 [65536]: code -> label, 255 where ignored, 254 where the code is unknown."""
        import numpy as np

        table = np.full(MAX_CODE + 1, UNKNOWN, np.uint8)
        for label, (_, codes) in enumerate(self.classes):
            table[list(codes)] = label
        table[list(self.ignore)] = IGNORE
        return table

    def fingerprint(self) -> str:
        """SHA-256 of what the map does; its name does not matter."""
        content = {"classes": self.classes, "ignore": self.ignore, "mean": self.mean}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_code_table(path: Path) -> dict[str, int]:
    """``label<TAB>GT_code`` -> {name: code}. Raises DataError naming file and row."""
    table: dict[str, int] = {}
    for number, row in read_table(path, ("label", "GT_code")):
        name = row["label"]
        try:
            code = int(row["gt_code"])
        except ValueError as error:
            raise DataError(
                f"{path}, row {number}: '{row['gt_code']}' is not the code of '{name}'. "
                f"Codes are whole numbers."
            ) from error
        if not 0 <= code <= MAX_CODE:
            raise DataError(f"{path}: code {code} of '{name}' is outside 0..{MAX_CODE}.")
        if name in table or code in table.values():
            raise DataError(f"{path}: '{name}' or its code {code} appears twice.")
        table[name] = code
    return table


@lru_cache(maxsize=1)
def official_codes() -> dict[str, int]:
    """The 22 codes of BCSS (gtruth_codes.tsv of Amgad et al. 2019): {name: code}."""
    return read_code_table(Path(str(resources.files("benchbcss.data"))) / "gtruth_codes.tsv")


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Any]:
    text = (resources.files("benchbcss.data") / "label_maps.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml_text.load(text)
    return loaded


def label_map_names() -> list[str]:
    return sorted(_built_in())


def label_map(name: str, table: dict[str, int] | None = None) -> LabelMap:
    """A built-in map, resolved through ``table`` (the dataset's own; default the official one).

    A table that gives a code another name than the official one is refused, naming the code:
    reading vessels from the code of fat is the mistake this project exists to prevent.
    """
    if name not in _built_in():
        raise UnknownNameError("label map", name, _built_in())
    official = official_codes()
    if table is not None:
        names = {code: label for label, code in official.items()}
        for label, code in table.items():
            if names.get(code) != label:
                expected = names.get(code, "not an official code")
                raise DataError(
                    f"The dataset's code table says code {code} is '{label}', but the label map "
                    f"'{name}' knows code {code} as '{expected}'. Correct meta/gtruth_codes.tsv, "
                    f"or name your codes in a suite of your own."
                )
    return build_label_map(name, _built_in()[name], official)


def build_label_map(name: str, raw: dict[str, Any], table: dict[str, int]) -> LabelMap:
    """Resolve a map written as plain data: classes and ignore list code names or codes.

    Every code of ``table`` must be used exactly once. Raises SuiteError naming the code.
    """
    seen: dict[int, str] = {}

    def codes(entries: list[str | int], where: str) -> tuple[int, ...]:
        resolved = []
        for entry in entries:
            code = table.get(entry) if isinstance(entry, str) else entry
            if code is None:
                raise SuiteError(f"Label map '{name}', {where}: there is no code named '{entry}'.")
            if not 0 <= code <= MAX_CODE:
                raise SuiteError(
                    f"Label map '{name}', {where}: code {code} is outside 0..{MAX_CODE}."
                )
            if code in seen:
                raise SuiteError(
                    f"Label map '{name}': code {code} is in both '{seen[code]}' and '{where}'."
                )
            seen[code] = where
            resolved.append(code)
        return tuple(sorted(resolved))

    if not 1 <= len(raw["classes"]) <= UNKNOWN:
        raise SuiteError(f"Label map '{name}' has {len(raw['classes'])} classes; 1 to 254 fit.")
    classes = tuple((cls, codes(entries, cls)) for cls, entries in raw["classes"].items())
    ignore = codes(raw.get("ignore") or [], "ignore")
    for label, code in table.items():
        if code not in seen:
            raise SuiteError(f"Label map '{name}' says nothing about code {code} ('{label}').")
    mean = tuple(raw.get("mean") or raw["classes"])
    for cls in mean:
        if cls not in raw["classes"]:
            raise SuiteError(f"Label map '{name}': '{cls}' in 'mean' is not one of its classes.")
    return LabelMap(name, classes, ignore, mean, raw.get("not_ranked"))
