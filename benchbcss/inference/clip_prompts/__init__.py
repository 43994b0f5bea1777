"""CLIP prompt sets; the shipped ones lie here. Read while planning, so without torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from benchbcss.errors import WeightsError
from benchbcss.io import parse_json, read_json


def read(name: str) -> tuple[str, dict[str, list[str]]]:
    """(name, {class: [prompt, ...]}) of a shipped set or of a JSON file. Raises WeightsError."""
    shipped = resources.files(__name__)
    names = [file.name for file in shipped.iterdir()]
    known = sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))
    try:
        if name in known:
            content = parse_json((shipped / f"{name}.json").read_text(encoding="utf-8"))
        else:
            content = read_json(Path(name))
    except FileNotFoundError as error:
        raise WeightsError(
            f"There is no CLIP prompt file {name}. Pass a path, or one of {', '.join(known)}."
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"The CLIP prompt file {name} cannot be read: {error}") from error
    good = isinstance(content, dict) and all(
        isinstance(prompts, list) and prompts and all(isinstance(p, str) and p for p in prompts)
        for prompts in content.values()
    )
    if not good or not content:
        raise WeightsError(
            f"The CLIP prompt file {name} must map each class to a list of prompts, such as "
            '{"CLASS": ["a histology image of CLASS"]}.'
        )
    return (name if name in known else Path(name).name), content
