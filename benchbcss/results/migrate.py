"""Records of older schema versions, lifted once to the present one when they are read.

Version 1 had neither objects nor other promptings; version 2 stored verdicts, which are now judged
when a board is read, and lists beside a list of class names where there are now mappings. What an
old record does not say stays undefined.
"""

from __future__ import annotations

from typing import Any

from benchbcss.errors import DataError
from benchbcss.results.schema import SCHEMA_VERSION


def lift(content: Any) -> dict[str, Any]:
    """``content`` of any known version as the present one's plain data. Raises DataError."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in range(1, SCHEMA_VERSION + 1):
        raise DataError(f"not a result of schema version 1 to {SCHEMA_VERSION}")
    if version == SCHEMA_VERSION:
        return dict(content)
    try:
        return _lifted(content)
    except KeyError as error:
        raise DataError(f"the field {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"a field is of the wrong kind: {error}") from error


def _lifted(content: dict[str, Any]) -> dict[str, Any]:
    tracks = content["tracks"]
    return {
        **content,
        "schema_version": SCHEMA_VERSION,
        "training": content.get("training") or {},
        "suite": {**content["suite"], "criteria": _criteria(tracks)},
        "tracks": {name: _track(section) for name, section in tracks.items()},
    }


def _criteria(tracks: dict[str, Any]) -> list[dict[str, Any]]:
    """The bounds that old verdicts were given by: their labels say them."""
    first: dict[str, Any] = next(iter(tracks.values()), {})
    verdicts = first.get("criteria") or []
    bounds = [verdict["label"].partition(" >= ")[2] for verdict in verdicts]
    return [
        {"metric": verdict["metric"], "at_least": float(bound) if bound else None}
        for verdict, bound in zip(verdicts, bounds, strict=True)
    ]


def _track(old: dict[str, Any]) -> dict[str, Any]:
    names = old.get("all_classes") or old["classes"]
    lifted = {**old, "all_classes": names, "rois": old.get("rois", 0)}
    lifted["conventions"] = {
        name: {"dice": _by_name(names, part["dice"]), "mean": part["mean"]}
        for name, part in (old.get("conventions") or {}).items()
    }
    spread = old.get("spread")
    if spread:
        lifted["spread"] = {**spread, "classes": _by_name(names, spread["classes"])}
    boundary = old.get("boundary")
    if boundary:
        by_class = boundary["counts"]["by_class"]
        lifted["boundary"] = {**boundary, "counts": _by_name(old["classes"], by_class)}
    lifted["headline"] = _headline(old)
    hint = old.get("prompting")
    if hint:
        lifted["prompting"] = _prompting(hint)
    lifted["others"] = [
        {**part, "prompting": _prompting(part["prompting"])} for part in old.get("others") or []
    ]
    return lifted


def _headline(old: dict[str, Any]) -> dict[str, Any]:
    """Effective ROIs stood once for the track; they belong to an estimand."""
    rests_on = {
        "per_roi": {k: float(v) for k, v in (old.get("rois_with_class") or {}).items()},
        "pooled": old.get("effective_rois") or {},
    }
    lifted = {}
    for name, part in old["headline"].items():
        rois = {cls: rests_on[name][cls] for cls in old["classes"] if cls in rests_on[name]}
        fewest = min((value for value in rois.values() if value), default=None)
        lifted[name] = part and {**part, "effective_rois": rois, "mean_effective_rois": fewest}
    return lifted


def _prompting(old: dict[str, Any]) -> dict[str, Any]:
    scope, tta = old.get("scope", "class"), bool(old.get("tta"))
    key = f"{old['strategy']}-{scope}" + ("-tta" if tta else "")
    return {"key": key, "version": 1, "scope": scope, "tta": tta, **old}


def _by_name(names: list[str], values: list[Any] | None) -> dict[str, Any] | None:
    return None if values is None else dict(zip(names, values, strict=True))
