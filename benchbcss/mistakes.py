"""What pydantic found wrong in a file that somebody wrote, in that person's words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_MOST = 12  # keys that are listed where none is like the one that was written

Place = tuple[str | int, ...]


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """All mistakes in one sentence; a key that ``model`` does not have with one that it has."""
    parts = []
    for where, what in entries(error, model):
        parts.append(f"{'.'.join(map(str, where)) or 'top level'}: {what}")
    return "; ".join(parts)


def entries(
    error: ValidationError, model: type[BaseModel] | None = None
) -> Iterator[tuple[Place, str]]:
    """The way to each mistake, and what it is."""
    for item in error.errors():
        where = _place(item["loc"])
        said = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            # The key itself is no tag, whatever it looks like.
            above, key = _place(item["loc"][:-1]), item["loc"][-1]
            where = (*above, key)
            said = "there is no such key" + _guess(str(key), keys_at(model, above))
        yield where, said


def _place(steps: Sequence[str | int]) -> Place:
    """The way to a setting, without the tags of a union's branches, which say nothing to who wrote
    the file."""
    return tuple(step for step in steps if not re.fullmatch(r"[(\[]\w+[)\]]", str(step)))


def keys_at(model: type[BaseModel] | None, steps: Sequence[str | int]) -> list[str]:
    """The keys that there are where ``steps`` lead to from ``model``; a step that is no field is an
    item of a list or a mapping."""
    models = [] if model is None else [model]
    for step in steps:
        fields = [one.model_fields[str(step)] for one in models if str(step) in one.model_fields]
        if fields:
            models = [one for field in fields for one in _models_in(field.annotation)]
    return sorted({name for one in models for name in one.model_fields})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _guess(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= _MOST else ""
