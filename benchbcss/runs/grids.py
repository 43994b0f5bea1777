"""A sweep's file: which settings of which backends are tried, as validated data.

Each of its ``grids`` is every combination of backends, weights and values::

    seeds: 3
    grids:
      - backends: [unetpp, segformer]
        set: {train.weight_decay: 0.01}
        grid:
          train.lr: [1e-4, 3e-4]
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from benchbcss import yaml_text
from benchbcss.errors import InputError
from benchbcss.io import read_bytes
from benchbcss.overrides import parse
from benchbcss.recipes import Strict
from benchbcss.results.spec import NAME

#: settings that a sweep may have: more were never meant, and would take hours to be listed
MOST = 10_000

Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]


class Grid(Strict):
    """Every combination of ``backends``, ``weights`` and the values of ``grid``; ``set`` holds
    settings that all of them share. Keys are those of ``--set``."""

    backends: Annotated[tuple[Name, ...], Field(min_length=1)]
    weights: Name | Annotated[tuple[Name, ...], Field(min_length=1)] = "auto"
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)


class SweepFile(Strict):
    """What a sweep tries, on what, and ``best_of`` what a setting is chosen: of each backend, or of
    all of them together. ``seeds`` is a number N for 0 to N-1, or the seeds themselves."""

    name: str = Field(pattern=f"^{NAME}$")
    suite: Name | None = None
    split: Name | None = None
    preset: Literal["full", "smoke"] | None = None
    seeds: (
        Annotated[int, Field(ge=1, le=1000, strict=True)]
        | Annotated[tuple[Seed, ...], Field(min_length=1)]
    ) = 1
    best_of: Literal["backend", "all"] = "backend"
    grids: Annotated[tuple[Grid, ...], Field(min_length=1)]

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


@dataclass(frozen=True)
class Setting:
    """One point of a sweep: ``overrides`` are as ``--set`` takes them, ``label`` is what tells it
    from the sweep's other settings of its backend."""

    backend: str
    weights: str
    overrides: tuple[str, ...]
    label: str

    @property
    def title(self) -> str:
        return f"{self.backend} {self.label}".strip()


def read(path: Path) -> SweepFile:
    """Raises InputError, with the first mistake in one sentence."""
    try:
        text = read_bytes(path).decode("utf-8")
        raw = yaml_text.load(text)
    except yaml_text.WrittenTwice as error:
        raise InputError(f"The sweep file {path}: {error.problem}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"The sweep file {path}{line} is not YAML: {what}.") from error
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"The sweep file {path} cannot be read: {why}.") from error
    if not isinstance(raw, dict):
        raise InputError(f"The sweep file {path} holds no mapping. It needs at least: grids.")
    default = re.sub("[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-") or "sweep"
    try:
        made = SweepFile.model_validate({"name": default, **raw})
    except ValidationError as error:
        raise InputError(f"The sweep file {path}: {_first(error)}") from error
    for seed, count in Counter(made.all_seeds).items():
        if count > 1:
            raise InputError(f"The sweep file {path}: seeds names {seed} twice.")
    if made.suite and (path.parent / made.suite).is_file():  # a suite file beside it
        made = made.model_copy(update={"suite": str(path.parent / made.suite)})
    settings(made, path)
    return made


def settings(made: SweepFile, path: Path) -> list[Setting]:
    """Every setting, in the file's order. Raises InputError for keys that are none, and for two
    settings that are the same."""
    number = sum(map(_size, made.grids))
    if number > MOST:
        raise InputError(
            f"The sweep file {path} comes to {number} settings, and {MOST} are the most. Leave "
            f"values out of its grids."
        )
    points = [point for grid in made.grids for point in _points(grid, path)]
    differing: dict[str, dict[str, None]] = {}  # of a backend, the keys that it needs to be told by
    for backend in dict.fromkeys(point[0] for point in points):
        mine = [{"weights": w, **values} for b, w, values in points if b == backend]
        keys = dict.fromkeys(key for values in mine for key in values)
        differing[backend] = {
            key: None for key in keys if len({_text(values.get(key)) for values in mine}) > 1
        }
    short = _short([key for grid in made.grids for key in (*grid.set, *grid.grid)])
    chosen: dict[tuple[str, str, tuple[str, ...]], Setting] = {}
    for backend, weights, values in points:
        overrides = tuple(f"{key}={_text(value)}" for key, value in values.items())
        given = {"weights": Path(weights).name, **values}
        words = [
            f"{short.get(key, key)}={_shown(given[key])}"
            for key in differing[backend]
            if key in given
        ]
        setting = Setting(backend, weights, overrides, " ".join(words))
        identity = (backend, weights, tuple(sorted(overrides)))
        if identity in chosen:
            raise InputError(f"The sweep file {path} has the setting '{setting.title}' twice.")
        chosen[identity] = setting
    return list(chosen.values())


def _size(grid: Grid) -> int:
    """How many combinations it has."""
    weights = 1 if isinstance(grid.weights, str) else len(grid.weights)
    return len(grid.backends) * weights * math.prod(map(len, grid.grid.values()))


def _points(grid: Grid, path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Backend, weights and values of every combination."""
    for key in (*grid.set, *grid.grid):
        if ":" in key:
            raise InputError(
                f"The sweep file {path}: '{key}' names a backend. Give that backend an entry of "
                f"its own below grids."
            )
        if "=" in key:
            raise InputError(f"The sweep file {path}: '{key}' is no key of a recipe.")
        if key in grid.set and key in grid.grid:
            raise InputError(f"The sweep file {path}: '{key}' is both in set and in grid.")
    weights = (grid.weights,) if isinstance(grid.weights, str) else grid.weights
    for backend, given, *values in itertools.product(grid.backends, weights, *grid.grid.values()):
        point = {**grid.set, **dict(zip(grid.grid, values, strict=True))}
        for key, value in point.items():
            try:
                parse(f"{key}={_text(value)}")
            except InputError as error:
                raise InputError(f"The sweep file {path}: {error}") from error
            except (ValueError, RecursionError):  # by an alias of YAML
                raise InputError(f"The sweep file {path}: '{key}' holds itself.") from None
        yield backend, given, point


def _text(value: Any) -> str:
    """As ``--set`` takes it."""
    return json.dumps(value, default=str)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Each key's last word, where no other key has it."""
    ends = Counter(key.rpartition(".")[2] for key in set(keys))
    return {key: end if ends[end] == 1 else key for key in keys if (end := key.rpartition(".")[2])}


def _first(error: ValidationError) -> str:
    """The first mistake as a sentence; a misspelt key with its near miss."""
    errors = error.errors()
    item = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    steps = [
        str(step) for step in item["loc"] if not str(step).startswith(("tuple[", "constrained"))
    ]
    where = ".".join(steps)
    if item["type"] == "extra_forbidden":
        model = Grid if steps[0] == "grids" else SweepFile
        near = difflib.get_close_matches(steps[-1], model.model_fields, n=1, cutoff=0.5)
        guess = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(model.model_fields)}."
        return f"there is no key {where}.{guess}"
    if item["type"] == "missing":
        return f"{where} is missing."
    return f"{where}: {item['msg'][0].lower()}{item['msg'][1:]}."
