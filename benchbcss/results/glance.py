"""A record at a glance: the few fields that a plain board shows, as lists of JSON and back.

Which fields there are, and what is a part with fields of its own, is the schema's to say; here it
is only said what is kept. A glance has the values that the schema made of the record; whoever asks
it for more gets that from the record itself. Reading one back imports no pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel

#: what is kept of the parts of a record of which not everything is: fields, and properties
KEPT: dict[str, tuple[str, ...]] = {
    "RunResult": (
        *("backend", "floor", "name", "seed", "created", "preset", "protocol", "mpp"),
        *("metrics_version", "suite", "label_map", "split", "data", "weights", "recipe"),
        *("selection", "evaluated", "not_measured", "training", "stability", "tracks"),
    ),
    "Training": ("monitor",),
    "Stability": ("status", "reason", "note"),
    "TrackResult": (
        *("classes", "all_classes", "rois", "view", "headline", "rois_with_class", "tissue"),
        *("region_accuracy", "prompting", "ceiling", "regions", "other_promptings"),
        "foreign_metrics",
    ),
    "Regions": ("not_measured", "rois", "predicted", "ground_truth"),
    "NamedRegions": ("accuracy", "interval", "effective_rois", "reason"),
    "MeanDice": ("mean",),
}

#: what many records have alike, kept once for all of them. It is kept whole, since there is no one
#: record that could be asked for more.
SHARED: dict[str, tuple[str, ...]] = {
    "RunResult": ("suite", "label_map", "split", "data", "weights", "recipe"),
    "TrackResult": ("classes", "all_classes", "rois_with_class", "prompting"),
    "Estimand": ("effective_rois",),
    "Regions": ("not_measured",),
}

#: returns what a left-out field is to be read from
Whole = Callable[[], Any]
#: makes an object of kept values; with what their left-out fields are read from
Decode = Callable[[Sequence[Any], Whole | None], Any]


class Shape(NamedTuple):
    """``fields`` that are kept; ``parts``: place, name, kind and shape of those that have fields of
    their own, or of which there is a list or a mapping; ``shared``: place and table of those of
    which there is a number in a table; ``whole``: nothing is left out. As JSON, lists."""

    fields: list[str]
    parts: list[tuple[int, str, str, Shape]]
    shared: list[tuple[int, str]]
    whole: bool

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Shape:
        fields, parts, shared, whole = value
        inner = [(place, name, kind, cls.from_json(shape)) for place, name, kind, shape in parts]
        return cls(fields, inner, [(place, table) for place, table in shared], whole)


class Tables:
    """The values that records share, by table; equal ones have the same number."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def number(self, table: str, value: Any) -> int:
        """Raises ValueError for what is no JSON."""
        values = self.values.setdefault(table, [])
        number = self._numbers.setdefault((table, json.dumps(value, allow_nan=False)), len(values))
        if number == len(values):
            values.append(value)
        return number


def shape_of(model: type[BaseModel]) -> Shape:
    """What is kept of a record that ``model`` describes."""
    fields = KEPT.get(model.__name__, tuple(model.model_fields))
    parts: list[tuple[int, str, str, Shape]] = []
    for place, name in enumerate(fields):
        field = model.model_fields.get(name)
        inner = field and _model_in(field.annotation)
        if inner:
            parts.append((place, name, inner[0], shape_of(inner[1])))
    alike = SHARED.get(model.__name__, ())
    shared = [(fields.index(name), f"{model.__name__}.{name}") for name in alike]
    whole = set(fields) == set(model.model_fields) and all(part[3].whole for part in parts)
    return Shape(list(fields), parts, shared, whole)


def _model_in(annotation: Any, kind: str = "one") -> tuple[str, type[BaseModel]] | None:
    if hasattr(annotation, "model_fields"):
        return kind, annotation
    kind = {list: "list", dict: "dict"}.get(get_origin(annotation), kind)  # type: ignore[call-overload]
    inner = (_model_in(argument, kind) for argument in get_args(annotation))
    return next((model for model in inner if model is not None), None)


def encode(shape: Shape, part: Any, tables: Tables) -> list[Any]:
    """The kept values of ``part``, in the order of its shape's fields. Raises ValueError for shared
    ones that are no JSON."""
    values = [getattr(part, name) for name in shape.fields]
    _each_part(shape, values, lambda inner, value: encode(inner, value, tables))
    for place, table in shape.shared:
        values[place] = tables.number(table, values[place])
    return values


def renumbered(shape: Shape, values: Sequence[Any], new: Callable[[str, int], int]) -> list[Any]:
    """Kept ``values`` with the numbers that ``new`` gives for those in each table."""
    values = list(values)
    shared = {place for place, _ in shape.shared}
    unshared = [part for part in shape.parts if part[0] not in shared]
    _each_part(
        shape._replace(parts=unshared), values, lambda inner, value: renumbered(inner, value, new)
    )
    for place, table in shape.shared:
        values[place] = new(table, values[place])
    return values


def _each_part(shape: Shape, values: list[Any], change: Callable[[Shape, Any], Any]) -> None:
    for place, _, kind, inner in shape.parts:
        value = values[place]
        if value is None:
            continue
        if kind == "one":
            values[place] = change(inner, value)
        elif kind == "dict":
            values[place] = {key: change(inner, item) for key, item in value.items()}
        else:
            values[place] = [change(inner, item) for item in value]


def decoder(shape: Shape, tables: dict[str, list[Any]]) -> Decode:
    """The inverse of ``encode``: makes objects with the kept values as attributes, and the others
    from what ``whole`` returns; without it, there must be none."""
    inner = {place: decoder(part, tables) for place, _, _, part in shape.parts}
    fields, shared, parts = shape.fields, [], []
    for place, table in shape.shared:
        values = tables.get(table, [])
        if place in inner:
            values = [value and inner[place](value, None) for value in values]
        shared.append((fields[place], place, values))
    apart = {place for place, _ in shape.shared}
    for place, name, kind, part in shape.parts:
        if place not in apart:
            parts.append((place, name, kind, part.whole, inner[place]))

    def decode(values: Sequence[Any], whole: Whole | None) -> Part:
        kept = dict(zip(fields, values, strict=True))
        for name, place, table in shared:
            kept[name] = table[values[place]]
        for place, name, kind, complete, made in parts:
            value = values[place]
            if not value:
                continue  # nothing, or empty
            of = None if whole is None or complete else _Of(whole, name)
            if kind == "one":
                kept[name] = made(value, of)
            elif kind == "dict":
                kept[name] = {key: made(item, of and of.at(key)) for key, item in value.items()}
            else:
                kept[name] = [made(item, of and of.at(nth)) for nth, item in enumerate(value)]
        if whole is None:
            part = Part()
        else:
            part = Partial()
            part._whole = whole
        part.__dict__ = kept
        return part

    return decode


class Part:
    """A part of a record, whole, in its ``__dict__`` as that of the part itself would have it."""

    __slots__ = ("__dict__",)


class Partial(Part):
    """A part of which not everything is kept: the rest is read when it is asked for."""

    __slots__ = ("_whole",)

    _whole: Whole

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what Python itself looks for
            raise AttributeError(name)
        return getattr(self._whole(), name)


class _Of:
    """Finds a field, or an item of it, in what ``whole`` returns."""

    __slots__ = ("_item", "_name", "_whole")

    def __init__(self, whole: Whole, name: str, item: Any = None) -> None:
        self._whole, self._name, self._item = whole, name, item

    def at(self, item: Any) -> _Of:
        return _Of(self._whole, self._name, item)

    def __call__(self) -> Any:
        value = getattr(self._whole(), self._name)
        return value if self._item is None else value[self._item]
