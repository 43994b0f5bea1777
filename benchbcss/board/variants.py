"""Names for several runs of one backend and seed: what differs between their recipes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchbcss.board.model import Row

#: settings named in a variant; more would not be read
MOST = 3
#: parts of a recipe that change no number
_SILENT = ("name", "summary", "sources", "tracker")


def tell_apart(rows: Sequence[Row]) -> None:
    """Set ``variant`` of every row that shares backend and seed with another: ``lr=1e-4``. Where
    that does not tell two apart, the beginning of the run's fingerprint does."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.result.name:
            row.variant = row.result.name
        else:
            groups.setdefault(row.backend, []).append(row)
    for group in groups.values():
        kinds = Counter((row.seed, row.result.evaluated) for row in group)
        if max(kinds.values()) > 1:
            for row, variant in zip(group, differences([_settings(r) for r in group]), strict=True):
                row.variant = variant
    same = Counter((row.backend, row.seed, row.result.evaluated, row.variant) for row in rows)
    for row in rows:
        if same[row.backend, row.seed, row.result.evaluated, row.variant] > 1:
            number = "#" + row.run.name.rpartition("-")[2][:6]
            row.variant = f"{row.variant} {number}".strip()


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each of ``settings`` {dotted path: value}, the values that not all of them share."""
    paths = list(dict.fromkeys(path for setting in settings for path in setting))
    shown = [{path: _show(setting.get(path)) for path in paths} for setting in settings]
    differing = [path for path in paths if len({values[path] for values in shown}) > 1]
    names = _short(differing, paths)
    more = " ..." if len(differing) > MOST else ""
    return [
        " ".join(f"{names[path]}={values[path]}" for path in differing[:MOST]) + more
        for values in shown
    ]


def _settings(row: Row) -> dict[str, Any]:
    recipe = {key: value for key, value in row.result.recipe.items() if key not in _SILENT}
    return {**_flat(recipe), "weights": Path(row.result.weights.requested).name}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= _flat(part, f"{path}.{key}" if path else str(key))
    return found


def _short(paths: Sequence[str], among: Sequence[str]) -> dict[str, str]:
    """Each path's shortest ending that no other of ``among`` has."""
    names = {}
    for path in paths:
        words = path.split(".")
        endings = [".".join(words[-n:]) for n in range(1, len(words) + 1)]
        names[path] = next(
            ending
            for ending in endings
            if ending == path or sum(f".{p}".endswith(f".{ending}") for p in among) == 1
        )
    return names


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        plain = f"{value:g}"
        head, _, power = f"{value:e}".partition("e")
        short = f"{float(head):g}e{int(power)}" if power else plain
        return min(plain, short, key=len)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
