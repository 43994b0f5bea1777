"""The command that makes a row again: every setting in which it differs from what is usual."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss import registry
from benchbcss.board.model import Row
from benchbcss.errors import BenchError
from benchbcss.results import store

if TYPE_CHECKING:
    from benchbcss.results.spec import RunSpec


def command(row: Row) -> str:
    """Of a run's specification; in words where it is gone, or where no command says it all."""
    try:
        spec = store.load_spec(row.run)
    except BenchError as error:
        return f"not known: {error}"
    words = ["benchbcss", *_verb(spec), *_data(spec)]
    notes = []
    if spec.predictions_sha256 is None:
        words += ["--weights", str(spec.weights)] if str(spec.weights) != "auto" else []
        settings, note = _settings(spec)
        for setting in settings:
            words += ["--set", setting]
        notes += [note] if note else []
    return " ".join([shlex.join(words), *(f"# {note}" for note in notes)])


def _verb(spec: RunSpec) -> list[str]:
    if spec.predictions_sha256 is not None:
        return ["score", "PREDICTIONS", "--name", spec.backend]
    if spec.evaluate is not None:
        return ["evaluate", spec.backend, "--subset", spec.evaluate]
    words = ["run", spec.backend, "--no-floors", "--seed", str(spec.seed)]
    if spec.name:
        words += ["--name", spec.name]
    if spec.processes > 1:
        words += ["--processes", str(spec.processes)]
    return words


def _data(spec: RunSpec) -> list[str]:
    words = ["--suite", spec.suite.file or spec.suite.name, "--preset", spec.preset]
    if spec.split_name and spec.split_name != spec.suite.split:
        words += ["--split", spec.split_name]
    embedded = spec.suite.phantom is not None and spec.suite.phantom.folder
    if not (spec.data_is_phantom and Path(spec.data_root).name == embedded):
        words += ["--data", spec.data_root]
    return words


def _settings(spec: RunSpec) -> tuple[list[str], str]:
    """``--set`` for each setting that the backend's recipe does not have today, and what they
    leave unsaid."""
    from benchbcss.recipes import resolve

    entry = registry.load().backends.get(spec.backend)
    if entry is None or not entry.info.recipe:
        return [], "its backend is not installed here, so settings of its own are not known"
    mine = spec.recipe.model_dump(mode="json")
    try:
        usual = resolve(entry.info.recipe, spec.preset).model_dump(mode="json")
        settings = [f"{path}={json.dumps(value)}" for path, value in _differing(mine, usual)]
        again = resolve(entry.info.recipe, spec.preset, tuple(settings)).model_dump(mode="json")
    except BenchError as error:
        return [], f"its settings cannot be repeated with today's recipe: {error}"
    unsaid = [path for path, _ in _differing(mine, again)]
    return settings, f"today's recipe differs in {', '.join(unsaid)}" if unsaid else ""


#: of a recipe, what changes no number
_SILENT = ("name", "summary", "sources", "tracker")


def _differing(
    mine: Mapping[str, Any], usual: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Any]]:
    """(dotted path, my value) of what is not as usual."""
    for key, value in mine.items():
        if not path and key in _SILENT:
            continue
        other = usual.get(key)
        if value == other:
            continue
        if isinstance(value, dict) and isinstance(other, dict) and value:
            yield from _differing(value, other, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
