"""``--set [BACKEND:]key.path=value``: settings of a recipe from the command line.

One that would change nothing is an error: a key that the recipe does not have, or one that another
setting makes idle.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from benchbcss.errors import RecipeError

FREE = ("model", "loss", "predict")  # a backend's own sections: its recipe says what there is
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # that YAML 1.1 reads as text
#: other settings, dotted, and values of them
Conditions = Mapping[str, list[Any]]
NONE_FURTHER: Mapping[str, Collection[str] | None] = MappingProxyType({})


@dataclass(frozen=True)
class Override:
    """One ``--set``. ``backend`` is None where it is for every model named."""

    text: str
    backend: str | None
    keys: tuple[str, ...]
    value: Any

    @property
    def dotted(self) -> str:
        return ".".join(self.keys)

    def refused(self, reason: str) -> RecipeError:
        return RecipeError(f"--set {self.text!r}: {reason}")


def parse(text: str) -> Override:
    """Raises RecipeError for what is not ``[BACKEND:]key.path=value``."""
    before, equals, written = text.partition("=")
    backend, colon, dotted = before.rpartition(":")
    keys = tuple(dotted.strip().split("."))
    if not equals or not all(keys) or (colon and not backend.strip()):
        raise RecipeError(
            f"--set {text!r} is not key.path=value, for example train.lr=1e-4, or "
            f"BACKEND:train.lr=1e-4"
        )
    try:
        value = yaml.safe_load(written)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"--set {text!r}: the value is not YAML: {error}") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        try:
            value = float(value)
        except ValueError:
            pass
    try:
        value = _numbers(value)
    except RecursionError:  # by an alias of YAML
        raise RecipeError(f"--set {text!r}: {dotted} holds itself.") from None
    if any(not math.isfinite(number) for number in _floats(value)):
        raise RecipeError(f"--set {text!r}: {dotted} must be a finite number.")
    return Override(text, backend.strip() or None, keys, value)


def nested(override: Override) -> dict[str, Any]:
    """What is merged over a recipe."""
    value = override.value
    for key in reversed(override.keys):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def single(override: Override) -> Iterator[Override]:
    """What it sets, one by one: the entries of a mapping, which is merged over the recipe's."""
    if not isinstance(override.value, dict) or not override.value:
        yield override
        return
    for entry in _entries(override):
        yield from single(entry)


def _entries(override: Override) -> Iterator[Override]:
    """Of the mapping that it sets, each as a setting of its own."""
    for key, value in override.value.items():
        yield Override(override.text, override.backend, (*override.keys, str(key)), value)


def misfit(
    override: Override,
    raw: Mapping[str, Any],
    schema: type[BaseModel],
    further: Mapping[str, Collection[str] | None] = NONE_FURTHER,
) -> str | None:
    """Why a recipe, as plain data of ``schema``, does not have the key, or one of those in the
    mapping that it is set to; None where it does. ``further``: by mapping, dotted, the keys that it
    takes besides those that it has, or None for any."""
    above = ".".join(override.keys[:-1])
    if override.keys[-1] in (further.get(above) or ()):
        return None
    reason = _unknown(override, raw, schema)
    if reason or not isinstance(override.value, dict):
        return reason
    node, names = _at(raw, override.keys), further.get(override.dotted)
    if not isinstance(node, dict):
        strange = [str(key) for key in override.value if names is not None and key not in names]
        return f"there is no {override.dotted}.{strange[0]}." if strange else None
    if not override.value:
        return (
            f"a mapping is merged over the recipe's, so that an empty one changes nothing of "
            f"{override.dotted}."
        )
    if override.keys[0] not in FREE:
        return None  # they are validated
    if override.dotted in further and further[override.dotted] is None:
        return None
    reasons = (misfit(entry, raw, schema, further) for entry in _entries(override))
    return next(filter(None, reasons), None)


def _at(raw: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    node: Any = raw
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _unknown(override: Override, raw: Mapping[str, Any], schema: type[BaseModel]) -> str | None:
    """Why a recipe does not have the key; None where it does."""
    top, *inner = override.keys
    dotted = override.dotted
    if top == "train" and raw.get("train") is None:
        return f"{raw.get('name', 'it')} is not trained here, so it has no train settings."
    if top in FREE or inner:
        node: Any = raw
        for depth, key in enumerate(override.keys[:-1], start=1):
            node = node.get(key) if isinstance(node, dict) else None
            if isinstance(node, list | tuple):
                whole = ".".join(override.keys[:depth])
                return f"{whole} is a list here. Give it whole: --set '{whole}=[...]'"
    settable = ("view", "tracker", "train", *FREE)
    has = _in_data(raw, override.keys) if top in FREE else _in_schema(schema, override.keys)
    by_key = inner or top not in FREE or isinstance(override.value, dict)
    if has and top in settable and by_key:
        return None
    known = [key for key in _known(raw, schema) if key.split(".")[0] in settable]
    return f"there is no {dotted}.{_guess(override.keys, known)}"


def idle(
    override: Override, recipe: Any, used_when: Mapping[str, Conditions] | None = None
) -> str | None:
    """Why the setting changes nothing in the resolved ``recipe``; None where it may. ``used_when``:
    settings, dotted, and the values of others with which alone they are looked at."""
    train, dotted = recipe.train, override.dotted
    for setting, conditions in (used_when or {}).items():
        if dotted != setting and not dotted.startswith(f"{setting}."):
            continue
        for other, values in conditions.items():
            value = _at(recipe.model_dump(), tuple(other.split(".")))
            if value not in values:
                used = " or ".join(map(_written, values))
                return (
                    f"it has no effect, since {other} is {_written(value)}; it is used where that "
                    f"is {used}."
                )
    if train is None or dotted not in ("train.steps", "train.epochs"):
        return None
    if train.budget == "suite":
        return (
            f"it has no effect, since the suite says how long {recipe.name} trains. To change "
            f"that, add --set train.budget=recipe"
        )
    if dotted == "train.epochs" and train.epochs is not None and train.steps is not None:
        return (
            f"it has no effect, since the recipe's train.steps={train.steps} comes first. To count "
            f"in epochs, add --set train.steps=null"
        )
    return None


def strange_conditions(raw: Mapping[str, Any], used_when: Any) -> str | None:
    """What is wrong with a recipe's ``used_when``; None where it names settings that there are."""
    if used_when is None:
        return None
    if not isinstance(used_when, dict):
        return "it must map settings to the values of others"
    for setting, conditions in used_when.items():
        if not isinstance(conditions, dict):
            return f"{setting} must map other settings to lists of values"
        for name in (setting, *conditions):
            if not _in_data(raw, tuple(str(name).split("."))):
                return f"there is no {name}"
        if strange := [other for other, values in conditions.items() if type(values) is not list]:
            return f"{setting}: {strange[0]} must be a list of values"
    return None


def _written(value: Any) -> str:
    """As it would be set."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _numbers(value: Any) -> Any:
    """``value`` with numbers such as 1e-4 as numbers inside lists and mappings too."""
    if isinstance(value, dict):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _floats(part)


def _in_data(raw: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    node: Any = raw
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def _in_schema(schema: type[BaseModel], keys: tuple[str, ...]) -> bool:
    models = [schema]
    for depth, key in enumerate(keys, start=1):
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        if not fields:
            return False
        models = [model for field in fields for model in _models(field.annotation)]
        if not models and depth < len(keys):
            return False
    return True


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _known(raw: Mapping[str, Any], schema: type[BaseModel]) -> list[str]:
    """Every key that there is, dotted: those of the schema and those of the recipe."""
    keys = {name for name in _flat(raw) if name.split(".")[0] in FREE}
    for name, field in schema.model_fields.items():
        keys.add(name)
        for model in _models(field.annotation):
            if raw.get(name) is not None or name == "view":
                keys |= {f"{name}.{inner}" for inner in model.model_fields}
    return sorted(keys)


def _flat(raw: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in raw.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")


def _guess(keys: tuple[str, ...], known: list[str]) -> str:
    dotted, last = ".".join(keys), keys[-1]
    same = [key for key in known if key.rpartition(".")[2] == last and key != dotted]
    near = same[:1] or difflib.get_close_matches(dotted, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]}?"
    above = ".".join(keys[:-1])
    beside = [key for key in known if key.rpartition(".")[0] == above]
    return f" Known: {', '.join(beside or known)}."
