"""``figures.yaml``, with BCSS's codes in the place of their names."""

from __future__ import annotations

from importlib import resources
from typing import Any

from benchbcss import yaml_text
from benchbcss.data.labels import official_codes

FIGURES: dict[str, Any] = yaml_text.load(
    (resources.files("benchbcss.data.phantom") / "figures.yaml").read_text(encoding="utf-8")
)
VERSION: int = FIGURES["version"]
TRAIN_SITES: tuple[str, ...] = tuple(FIGURES["train_sites"])
TEST_SITES: tuple[str, ...] = tuple(FIGURES["test_sites"])

_CODES = official_codes()
OUTSIDE, EXCLUDED = _CODES["outside_roi"], _CODES["exclude"]
TUMOR, STROMA = _CODES["tumor"], _CODES["stroma"]
LYMPHOCYTE, NECROSIS = _CODES["lymphocytic_infiltrate"], _CODES["necrosis_or_debris"]
FAT, GLAND, VESSEL = _CODES["fat"], _CODES["normal_acinus_or_duct"], _CODES["blood_vessel"]

#: mean share of all pixels per code; 'other' is fat and glands together
SHARES: dict[int | str, float] = {
    name if name == "other" else _CODES[name]: share for name, share in FIGURES["shares"].items()
}


def by_code(table: dict[str, Any]) -> dict[int | None, Any]:
    """A table of figures by code, in the order written; what is no code ('stray') under None."""
    return {_CODES.get(name): value for name, value in table.items()}
