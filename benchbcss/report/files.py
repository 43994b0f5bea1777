"""A chart as a file of its own: SVG or PNG, in the light colours of the report's page."""

from __future__ import annotations

import re
import textwrap
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from markupsafe import escape

from benchbcss.errors import InputError
from benchbcss.io import write_output
from benchbcss.report.charts import Figure

ENDINGS = (".png", ".svg")
_SCALE = 3  # pixels of a PNG for one of the page's
_LINE, _LETTER = 15, 6.2  # height of a line and mean width of a letter, in the page's pixels
_MARGIN = 8
_TAG, _VARIABLE = re.compile(r"<[^>]*>"), re.compile(r"var\(--([\w-]+)\)")

# sRGB to the cube root of cone responses, and these to Oklab (https://bottosson.github.io/posts/oklab)
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def save(figure: Figure, path: Path, legend: str = "") -> None:
    """Write ``figure`` as its file's ending says, with ``legend`` above it. Raises InputError for
    another ending, RunError where it cannot be written."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{path}: a chart is written as {' or '.join(ENDINGS)}.")
    text = svg(figure, legend)
    if ending == ".svg":
        write_output(path, text.encode())
        return
    import vl_convert

    write_output(path, vl_convert.svg_to_png(text, scale=_SCALE))


def svg(figure: Figure, legend: str = "") -> str:
    """The chart with its title, what it says in words, and ``legend`` above it, on white, with no
    variable of the page."""
    colours = colours_of_page()
    head, _, drawing = str(figure.svg).partition(">")
    size = re.search(r'width="(\d+)" height="(\d+)"', head)
    assert size is not None
    width, height = int(size[1]), int(size[2])
    letters = int(width / _LETTER)
    about = figure.text.removeprefix(f"{figure.title}: ")
    words = [
        line for text in (figure.title, about, legend) for line in textwrap.wrap(text, letters)
    ]
    top = len(words) * _LINE + _MARGIN
    texts = "".join(
        f'<text x="0" y="{(index + 1) * _LINE - top}" font-size="11" fill="var(--text)">'
        f"{escape(line)}</text>"
        for index, line in enumerate(words)
    )
    box = (-_MARGIN, -top - _MARGIN, width + 2 * _MARGIN, height + top + 2 * _MARGIN)
    place = 'x="{}" y="{}" width="{}" height="{}"'.format(*box)
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" font-family="sans-serif" width="{box[2]}" height="{box[3]}" '
        f'viewBox="{" ".join(map(str, box))}"><rect {place} fill="var(--page)"/>{texts}{drawing}'
    )
    return _TAG.sub(lambda tag: _VARIABLE.sub(lambda name: colours[name[1]], tag[0]), whole)


@lru_cache(maxsize=1)
def colours_of_page() -> dict[str, str]:
    """{variable of the page's light theme: its colour as '#rrggbb'}."""
    css = resources.files("benchbcss.report.templates").joinpath("report.css")
    blocks = re.findall(r"^:root \{(.*?)\}", css.read_text(encoding="utf-8"), re.S | re.M)
    given = dict(re.findall(r"--([\w-]+):\s*([^;]+);", ";".join(blocks)))
    return {name: _resolved(value, given) for name, value in given.items()}


def _resolved(value: str, given: dict[str, str]) -> str:
    if name := re.fullmatch(r"var\(--([\w-]+)\)", value.strip()):
        return _resolved(given[name[1]], given)
    if mix := re.fullmatch(r"color-mix\(in oklab, (.+?) (\d+)%, (.+)\)", value.strip()):
        first, second = (_resolved(mix[part], given) for part in (1, 3))
        return mixed(first, second, int(mix[2]) / 100)
    digits = value.strip().removeprefix("#")
    return f"#{digits}" if len(digits) == 6 else "#" + "".join(2 * digit for digit in digits)


def mixed(first: str, second: str, share: float) -> str:
    """``share`` of the colour ``first`` with ``second``, as CSS mixes them in Oklab."""
    lab = share * _to_oklab(first) + (1 - share) * _to_oklab(second)
    linear = np.linalg.solve(_CONES, np.linalg.solve(_OKLAB, lab) ** 3)
    linear = np.clip(linear, 0, 1)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in values)


def _to_oklab(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    lab: np.ndarray = _OKLAB @ np.cbrt(_CONES @ linear)
    return lab
