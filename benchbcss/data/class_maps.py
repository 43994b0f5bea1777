"""What the classes of somebody else's model are called, and which of a suite's they are.

A class map is read from YAML, JSON or CSV in the forms that people have: value -> class, class ->
values, colour -> class, a list of names, nnU-Net's ``dataset.json``, Hugging Face's ``id2label``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchbcss import yaml_text
from benchbcss.contract import IGNORE
from benchbcss.data.formats import Colour
from benchbcss.data.tables import near_miss, read_table
from benchbcss.errors import DataError
from benchbcss.io import parse_json, read_bytes

#: what files call a value that is no class at all
NOTHING = frozenset(
    ("", "none", "null", "background", "ignore", "ignored", "unlabelled", "unlabeled", "void")
)
_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_NONE = "(no class)"
_SHOWN = 12  # names of a list that a message shows

#: columns of a CSV, in the order in which they are looked for
_CLASS_COLUMNS = ("class", "class_name", "name", "label")
_VALUE_COLUMNS = ("value", "id", "index", "code", "gt_code", "label")
_COLOUR_COLUMNS = ("colour", "color", "hex", "rgb")
_CHANNEL_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))


@dataclass(frozen=True)
class ClassMap:
    """``values``, ``colours`` and ``names`` (of another model's classes) -> name of a class, None
    for no class of the suite. ``where`` names it in messages."""

    where: str
    values: dict[int, str | None] = field(default_factory=dict)
    colours: dict[Colour, str | None] = field(default_factory=dict)
    names: dict[str, str | None] = field(default_factory=dict)

    def plain(self) -> dict[str, str | None]:
        """As plain data that ``parsed`` reads again."""
        return {
            **{str(value): name for value, name in self.values.items()},
            **{f"#{bytes(colour).hex()}": name for colour, name in self.colours.items()},
            **self.names,
        }


def read(path: Path) -> ClassMap:
    """The class map of a file. Raises DataError naming the file and what to change."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return _of_table(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
        raw = from_json(text) if path.suffix.lower() == ".json" else yaml_text.load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"The class map {path} cannot be read: {reason}.") from error
    return parsed(raw, str(path))


def from_json(text: str) -> Any:
    """Plain data. Raises ValueError, for a name that is given twice too: JSON keeps the last."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"'{twice}' is written twice. Keep one")
        return made

    return parse_json(text, once)


def parsed(raw: Any, where: str) -> ClassMap:
    """A class map from plain data. Raises DataError."""
    made = ClassMap(where)
    if isinstance(raw, dict) and "regions_class_order" in raw:
        raw = _regions(raw, where)
    for key in ("id2label", "labels", "colours", "colors", "classes"):
        if isinstance(raw, dict) and isinstance(raw.get(key), dict | list):
            raw = raw[key]
            break
    if isinstance(raw, list):
        raw = dict(enumerate(raw))
    if not isinstance(raw, dict) or not raw:
        raise DataError(
            f"The class map {where} holds no mapping. Write one line for each value, such as "
            f"'1: CLASS', or for each colour, such as '\"#ff0000\": CLASS' (with the quotes)."
        )
    for key, value in raw.items():
        _add(made, key, value)
    return made


def _add(made: ClassMap, key: Any, value: Any) -> None:
    """One entry, whichever way round it is written."""
    number, colour = _number(key), _colour(key)
    if number is not None:
        _put(made, made.values, number, _name(made, key, value))
    elif colour is not None:
        _put(made, made.colours, colour, _name(made, key, value))
    elif value is None or (isinstance(value, str) and _colour(value) is None):
        _put(made, made.names, str(key), _name(made, key, value))
    else:
        name = _name(made, key, key)
        for one in value if isinstance(value, list) else [value]:
            number, colour = _number(one), _colour(one)
            if number is not None:
                _put(made, made.values, number, name)
            elif colour is not None:
                _put(made, made.colours, colour, name)
            else:
                raise DataError(
                    f"The class map {made.where}: '{one}' of '{key}' is neither a value 0..65535 "
                    f"nor a colour such as '#ff0000'."
                )


def _put(made: ClassMap, entries: dict[Any, str | None], key: Any, name: str | None) -> None:
    if entries.setdefault(key, name) != name:
        raise DataError(
            f"The class map {made.where}: {key} is both '{entries[key]}' and '{name}'. Keep one."
        )


def _name(made: ClassMap, key: Any, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(
            f"The class map {made.where}: '{key}' is given {value!r}; write the name of a class."
        )
    return None if value.strip().lower() in NOTHING - {"background"} else value.strip()


def _number(text: Any) -> int | None:
    if isinstance(text, bool) or not isinstance(text, int | str):
        return None
    if isinstance(text, str) and not re.fullmatch(r"\s*[0-9]{1,5}\s*", text):
        return None
    number = int(text)
    return number if 0 <= number <= 65535 else None


def _colour(value: Any) -> Colour | None:
    """'#rrggbb', 'r,g,b' or [r, g, b]."""
    if isinstance(value, str):
        if match := _HEX.fullmatch(value.strip()):
            red, green, blue = bytes.fromhex(match[1])
            return red, green, blue
        value = re.split(r"[\s,;]+", value.strip("()[] ")) if re.search("[,; ]", value) else None
    if isinstance(value, list | tuple) and len(value) == 3:
        parts = [_number(part) for part in value]
        if all(part is not None and part < 256 for part in parts):
            return parts[0], parts[1], parts[2]  # type: ignore[return-value]
    return None


def _regions(raw: dict[str, Any], where: str) -> dict[int, str]:
    """nnU-Net's region-based training: the label maps hold ``regions_class_order``, in the order of
    the regions (documentation/region_based_training.md of nnU-Net v2)."""
    labels, order = raw.get("labels"), raw.get("regions_class_order")
    names = [
        name
        for name, value in (labels.items() if isinstance(labels, dict) else ())
        if value not in (0, [0]) and name != "ignore"
    ]
    if not isinstance(order, list) or len(order) != len(names):
        raise DataError(
            f"The class map {where}: 'regions_class_order' must name one value for each region of "
            f"'labels'."
        )
    return {0: "background", **dict(zip(order, names, strict=True))}


def _of_table(path: Path) -> ClassMap:
    rows = read_table(path, ())
    columns = list(rows[0][1]) if rows else []
    name = next((column for column in _CLASS_COLUMNS if column in columns), None)
    value = next((c for c in _VALUE_COLUMNS if c in columns and c != name), None)
    colour = next((c for c in _COLOUR_COLUMNS if c in columns), None)
    channels = next(
        (c for c in (("r", "g", "b"), ("red", "green", "blue")) if {*c} <= {*columns}), ()
    )
    if name is None or not (value or colour or channels):
        raise DataError(
            f"{path} needs the columns value,class or colour,class; it has {','.join(columns)}."
        )
    made = ClassMap(str(path))
    for number, row in rows:
        key = row[value] if value else row[colour] if colour else ",".join(row[c] for c in channels)
        if _number(key) is None and _colour(key) is None:
            raise DataError(
                f"{path}, row {number}: '{key}' is neither a value 0..65535 nor a colour such as "
                f"#ff0000."
            )
        _add(made, key, row[name] or None)
    return made


# -- matching --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matched:
    """``labels`` of a suite by value, 255 where the value is no class of it; ``left_out``: names
    that are no class of the suite, ``lacking``: its classes that nothing stands for."""

    labels: dict[int, int]
    left_out: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def match(
    names: Mapping[int, str | None],
    classes: Sequence[str],
    needed: Sequence[int],
    *,
    codes: Mapping[str, int] | None = None,
    whose: str,
    remedy: str,
) -> Matched:
    """Which label each value is, by the names that its model gives.

    ``codes`` maps further names, of a dataset's codes, to labels (255: ignored). Upper and lower
    case, blanks, dashes and underscores are one. Names of no class of the suite are left out, but
    where a class in ``needed`` then has no counterpart, the two may be one class under two names:
    that raises DataError with both lists and ``remedy``.
    """
    known = {plain_name(name): label for name, label in (codes or {}).items()}
    known |= {plain_name(name): label for label, name in enumerate(classes)}
    labels = {
        value: IGNORE if name is None else known.get(plain_name(name), IGNORE)
        for value, name in names.items()
    }
    strangers = [
        name
        for name in names.values()
        if name is not None and plain_name(name) not in known and plain_name(name) not in NOTHING
    ]
    lacking = [classes[label] for label in needed if label not in labels.values()]
    if (strangers and lacking) or len(lacking) == len(needed):
        guess = near_miss(lacking[0], strangers) if lacking else None
        near = f" Is '{guess}' the suite's '{lacking[0]}'?" if guess else ""
        raise DataError(
            f"{whose} has classes that the suite has not: "
            f"{_listing([f'{v} {n or _NONE}' for v, n in names.items()])} | the suite's: "
            f"{_listing([*classes])}. Nothing stands for {_listing(lacking)}.{near} {remedy}"
        )
    left_out = [name for value, name in names.items() if name and labels[value] == IGNORE]
    return Matched(labels, tuple(dict.fromkeys(left_out)), tuple(lacking))


def targets(made: ClassMap, classes: Sequence[str], codes: Mapping[str, int] | None = None) -> None:
    """Raises DataError where ``made`` names a class that the suite does not have."""
    known = {plain_name(name) for name in (*classes, *(codes or {}))} | NOTHING
    for name in (*made.values.values(), *made.colours.values(), *made.names.values()):
        if name is not None and plain_name(name) not in known:
            near = near_miss(name, classes)
            guess = f" Did you mean '{near}'?" if near else ""
            raise DataError(
                f"The class map {made.where} names '{name}', which is no class of the suite."
                f"{guess} Known: {', '.join(classes)}; null for none of them."
            )


def label_of(
    name: str | None, classes: Sequence[str], codes: Mapping[str, int] | None = None
) -> int:
    """The label of a class of the suite; 255 for none."""
    if name is None:
        return IGNORE
    known = {plain_name(code): label for code, label in (codes or {}).items()}
    known |= {plain_name(one): label for label, one in enumerate(classes)}
    return known.get(plain_name(name), IGNORE)


def plain_name(name: str) -> str:
    """By which names of classes are compared: capitals, blanks, dashes and underscores are one."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:40] for name in names[:_SHOWN]) + more


def groups(
    names: Mapping[int, str],
    classes: Sequence[str],
    needed: Sequence[int],
    given: Mapping[str, str | None] | None,
    whose: str,
) -> tuple[tuple[int, ...], ...]:
    """For each class of a suite, which outputs of a network stand for it.

    ``names`` are the network's own, by output (Hugging Face's ``id2label``); ``given`` is a class
    map of outputs or of these names, as plain data, which comes before them. Raises DataError with
    both lists where neither says it, and for an entry that no output has.
    """
    if not given:
        remedy = (
            f"Say it in a file, in lines such as '{next(iter(names.values()), 'NAME')}: "
            f"{classes[0]}', and pass --set model.class_map=FILE."
        )
        labels = match(names, classes, needed, whose=whose, remedy=remedy).labels
    else:
        made = parsed(given, "model.class_map")
        targets(made, classes)
        by_name = {plain_name(name): target for name, target in made.names.items()}
        known = {plain_name(name) for name in names.values()}
        absent = [n for n in made.names if plain_name(n) not in known]
        absent += [str(value) for value in made.values if value not in names]
        if absent:
            near = near_miss(absent[0], names.values())
            guess = f" Did you mean '{near}'?" if near else ""
            raise DataError(
                f"The class map names '{absent[0]}', which {whose} has not.{guess} It has "
                f"{_listing([f'{v} {n}' for v, n in names.items()])}."
            )
        labels = {
            value: label_of(made.values.get(value, by_name.get(plain_name(name))), classes)
            for value, name in names.items()
        }
    return tuple(
        tuple(value for value, label in sorted(labels.items()) if label == index)
        for index in range(len(classes))
    )
