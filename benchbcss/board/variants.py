"""Names for several runs of one backend and seed: what differs between their recipes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
        if max(kinds.values()) > 1 and not _all_alike(group):
            for row, variant in zip(group, differences([_settings(r) for r in group]), strict=True):
                row.variant = variant
    # By whole names: a run that was named 's1' is not seed 1, nor a backend 'net s1'.
    names = [row.name for row in rows]
    same = Counter(names)
    for row, name in zip(rows, names, strict=True):
        if same[name] > 1:
            number = "#" + os.path.basename(row.folder).rpartition("-")[2][:6]
            row.variant = f"{row.variant} {number}".strip()


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each of nested ``settings``, the values that not all of them share."""
    first = settings[0]
    differing: dict[str, None] = {}
    for other in settings:
        if other != first:  # most are equal, and that is told quickly
            differing |= dict.fromkeys(_differing(first, other))
    paths = list(_paths(first)) if differing else []
    places = {path: place for place, path in enumerate(paths)}
    ordered = sorted(differing, key=lambda path: places.get(path, len(places)))
    names = _short(ordered, [*paths, *(path for path in ordered if path not in places)])
    more = " ..." if len(ordered) > MOST else ""
    return [
        " ".join(f"{names[path]}={_show(_value(setting, path))}" for path in ordered[:MOST]) + more
        for setting in settings
    ]


def _all_alike(group: Sequence[Row]) -> bool:
    """Quickly, for a thousand rows."""
    first = group[0].result
    return all(
        row.result.recipe == first.recipe
        and row.result.weights.requested == first.weights.requested
        for row in group
    )


def _settings(row: Row) -> dict[str, Any]:
    recipe = {key: value for key, value in row.result.recipe.items() if key not in _SILENT}
    return {**recipe, "weights": Path(row.result.weights.requested).name}


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Dotted paths of the values that differ; what is missing counts as None."""
    for key in dict.fromkeys([*a, *b]):
        one, other = a.get(key), b.get(key)
        if one == other:
            continue
        below = f"{path}{key}"
        if isinstance(one, dict) or isinstance(other, dict):
            parts = [part if isinstance(part, dict) else {} for part in (one, other)]
            yield from _differing(parts[0], parts[1], f"{below}.") if any(parts) else [below]
        else:
            yield below


def _paths(setting: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in setting.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def _value(setting: Any, path: str) -> Any:
    for key in path.split("."):
        setting = setting.get(key) if isinstance(setting, dict) else None
    return setting


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
