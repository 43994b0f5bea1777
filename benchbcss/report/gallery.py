"""Best, median and worst ROI of each model: image, truth, prediction and errors, class by class.

Every class is a picture of its own with one bit a pixel, so that the page can show and hide it;
what several models share (images, truth) is stored once.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchbcss.board.model import Row
from benchbcss.contract import IGNORE
from benchbcss.errors import BenchError
from benchbcss.report import ids
from benchbcss.report.rois import RoiScores
from benchbcss.results import scenes, store
from benchbcss.tracks import TRACKS
from benchbcss.tracks.base import number
from benchbcss.tracks.gallery import FALSE, IGNORED, MISSED, Colour, Scene
from benchbcss.tracks.pictures import colour

#: pixels along the longer side of a picture; labels are reduced to single pixels, never mixed
SIZE = 320
#: models with pictures, best first; floors have none
MOST = 12
QUALITY = 60
#: characters of pictures in a whole page, so that it stays below five megabytes; noise takes most
ROOM = 3_500_000
FULL = "those of better models fill the page; see benchbcss show-roi"


@dataclass(frozen=True)
class Layer:
    """A picture that is stored once, under ``id``, as a data URI; or a use of it, of class
    ``kind`` ('k3' for label 3, 'ignored', '' for what is always shown)."""

    id: str
    kind: str = ""


@dataclass(frozen=True)
class Panel:
    """Layers from the lowest up; ``text`` says what is seen."""

    title: str
    text: str
    layers: Sequence[Layer]


@dataclass(frozen=True)
class Shown:
    """One ROI of one model: why it is here (``which``), its Dice, its panels."""

    which: str
    roi: str
    mean: str
    classes: str
    width: int
    height: int
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Model:
    """A model's ROIs, or in ``reason`` why there are no pictures."""

    name: str
    rois: Sequence[Shown] = ()
    reason: str = ""


@dataclass
class Gallery:
    """The pictures of one table. ``stored``: id -> data URI; ``sizes``: id -> (width, height);
    ``keys``: (label, class, colour) of what is in them; ``left_out`` are models beyond MOST."""

    id: str
    models: list[Model] = field(default_factory=list)
    stored: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    left_out: int = 0
    known: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """(meaning, colour) of the marks that are not classes."""
        return [
            ("missed", _hex(MISSED)),
            ("false", _hex(FALSE)),
            ("ignored", _hex(IGNORED)),
        ]

    @property
    def taken(self) -> int:
        """Characters of what is stored."""
        return sum(map(len, self.stored.values()))

    def keep(self, uri: str, size: tuple[int, int]) -> str:
        """The id of a picture; the same one is stored once."""
        name = self.known.get(uri)
        if name is None:
            name = self.known[uri] = ids.new("picture")
            self.stored[name], self.sizes[name] = uri, size
        return name


def gallery(rows: Sequence[Row], scores: Mapping[int, RoiScores], room: int = ROOM) -> Gallery:
    """Of the models among ``rows``, whose ROIs' ``scores`` are by ``id(row)``; ``room`` is what all
    pictures together may take."""
    models = [row for row in rows if not row.floor]
    made = Gallery(ids.new("gallery"), left_out=max(0, len(models) - MOST))
    for row in models[:MOST]:
        if made.taken > room:
            made.models.append(Model(row.name, reason=FULL))
        else:
            made.models.append(_model(made, row, scores[id(row)]))
    return made


def _model(made: Gallery, row: Row, scores: RoiScores) -> Model:
    if scores.reason:
        return Model(row.name, reason=scores.reason)
    prompting = row.scores.prompting
    key = prompting.key if prompting else ""
    folder = TRACKS[row.track].folder(row.run, key)
    shown = []
    try:
        spec = store.load_spec(row.run)
        for which, index in scores.chosen():
            name = scores.rois[index]
            scene = scenes.scene(folder / name, spec, row.result, key)
            shown.append(_shown(made, row, scores, (which, index), scene))
    except (BenchError, OSError, ValueError) as error:
        return Model(row.name, shown, str(error))
    return Model(row.name, shown)


def _shown(
    made: Gallery, row: Row, scores: RoiScores, place: tuple[str, int], scene: Scene
) -> Shown:
    which, index = place
    assert scores.dice is not None
    assert scores.means is not None
    roi = scores.rois[index]
    mean = number(float(scores.means[index]), 2)
    dice = {
        name: number(float(value), 2)
        for name, value in zip(scores.classes, scores.dice[index], strict=True)
        if value == value
    }
    small = _reduced(scene)
    panels = _panels(made, small, f"{Path(roi).stem}, {row.name}")
    height, width = small.target.shape
    words = ", ".join(f"{name} {value}" for name, value in dice.items())
    return Shown(which, Path(roi).stem, mean, words, width, height, panels)


def _reduced(scene: Scene) -> Scene:
    """At most SIZE pixels along the longer side. Of labels every n-th pixel is kept."""
    height, width = scene.target.shape
    scale = min(1.0, SIZE / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))

    def nearest(array: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(np.ascontiguousarray(array, np.uint8))
        return np.asarray(picture.resize(shape, Image.Resampling.NEAREST))

    image = np.asarray(
        Image.fromarray(np.ascontiguousarray(scene.image)).resize(shape, Image.Resampling.BOX)
    )
    masks = {label: nearest(mask) > 0 for label, mask in scene.masks.items()}
    return Scene(image, nearest(scene.target), masks, scene.names, scene.overlapping)


def _panels(made: Gallery, scene: Scene, words: str) -> list[Panel]:
    size = (scene.target.shape[1], scene.target.shape[0])
    image = made.keep(_photograph(scene.image), size)
    known = scene.target != IGNORE
    for label in {*np.unique(scene.target[known]).tolist(), *_present(scene)}:
        made.keys.setdefault(label, (scene.names[label], _hex(colour(label))))

    def layers(masks: Iterable[tuple[int, np.ndarray]], fill: Colour | None) -> list[Layer]:
        """One for each label, in its own colour unless ``fill`` is given."""
        return [
            Layer(made.keep(_bits(mask, fill or colour(label)), size), f"k{label}")
            for label, mask in masks
            if mask.any()
        ]

    labels = range(len(scene.names))
    ground = [Layer(image)]
    out = [Layer(made.keep(_bits(~known, IGNORED), size), "ignored")] if (~known).any() else []
    truth = layers(((label, scene.target == label) for label in labels), None)
    largest_first = sorted(scene.masks.items(), key=lambda item: -int(item[1].sum()))
    missed = [(label, ~mask & (scene.target == label)) for label, mask in scene.masks.items()]
    false = [(label, mask & known & (scene.target != label)) for label, mask in scene.masks.items()]
    # A class that is not looked for can be neither missed nor false.
    errors = [*layers(false, FALSE), *layers(missed, MISSED)]
    return [
        Panel("image", f"Image of {words}", ground),
        Panel("truth", f"Truth of {words}", [*ground, *truth, *out]),
        Panel("prediction", f"Prediction of {words}", [*ground, *layers(largest_first, None)]),
        Panel("errors", f"Errors of {words}", [*ground, *errors, *out]),
    ]


def _present(scene: Scene) -> list[int]:
    return [label for label, mask in scene.masks.items() if mask.any()]


def _photograph(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=QUALITY, method=4)
    return _uri(buffer, "webp")


def _bits(mask: np.ndarray, fill: Colour) -> str:
    """PNG of one bit a pixel: ``fill`` where the mask is, nothing elsewhere."""
    picture = Image.fromarray(mask.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, *fill])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0, bits=1, optimize=True)
    return _uri(buffer, "png")


def _uri(buffer: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _hex(fill: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*fill)
