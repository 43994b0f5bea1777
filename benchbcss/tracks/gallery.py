"""An ROI's image, truth, prediction and errors side by side, as one picture with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchbcss.contract import IGNORE
from benchbcss.tracks.pictures import colour

Colour = tuple[int, int, int]
#: pixels between panels and around them
GAP = 12
PANEL_PIXELS = 768  # the longer side of a panel; larger ROIs are reduced, small ones enlarged
TITLES = ("image", "truth", "prediction", "errors")
INK: Colour = (24, 24, 28)
PAPER: Colour = (255, 255, 255)
NONE: Colour = (255, 255, 255)  # where no mask lies
IGNORED: Colour = (64, 64, 68)
RIGHT: Colour = (226, 232, 226)
MISSED: Colour = (190, 20, 40)
FALSE: Colour = (235, 130, 0)


@dataclass(frozen=True)
class Scene:
    """What is shown: ``image`` uint8 [H, W, 3]; ``target`` uint8 [H, W], labels with 255 where
    ignored; ``masks``: bool [H, W] of each label that was looked for; ``names`` of the labels.
    ``overlapping``: masks of several classes may lie on one pixel, or none."""

    image: np.ndarray
    target: np.ndarray
    masks: Mapping[int, np.ndarray]
    names: Sequence[str]
    overlapping: bool = True

    @classmethod
    def of_labels(
        cls, image: np.ndarray, target: np.ndarray, labels: np.ndarray, names: Sequence[str]
    ) -> Scene:
        """Of a label map uint8 [H, W]."""
        masks = {label: labels == label for label in range(len(names))}
        return cls(image, target, masks, names, overlapping=False)

    def errors(self) -> np.ndarray:
        """uint8 [H, W]: 0 right, 1 missed (its own class's mask is not there), 2 false (another
        class's mask is), 255 ignored. A pixel that is both counts as missed; a class that was not
        looked for cannot be missed."""
        wrong = np.zeros(self.target.shape, np.uint8)
        for label, mask in self.masks.items():
            wrong[mask & (self.target != label)] = 2
        for label, mask in self.masks.items():
            wrong[~mask & (self.target == label)] = 1
        wrong[self.target == IGNORE] = IGNORE
        return wrong

    def truth(self) -> np.ndarray:
        """uint8 [H, W, 3]."""
        table = np.full((256, 3), NONE, np.uint8)
        for label in range(len(self.names)):
            table[label] = colour(label)
        table[IGNORE] = IGNORED
        return table[self.target]

    def prediction(self) -> np.ndarray:
        """uint8 [H, W, 3]; where masks overlap the smaller one is on top."""
        picture = np.full((*self.target.shape, 3), NONE, np.uint8)
        for label in sorted(self.masks, key=lambda i: -int(self.masks[i].sum())):
            picture[self.masks[label]] = colour(label)
        return picture

    def panels(self) -> list[np.ndarray]:
        """uint8 [H, W, 3], in the order of ``TITLES``."""
        table = np.full((256, 3), RIGHT, np.uint8)
        table[1], table[2], table[IGNORE] = MISSED, FALSE, IGNORED
        return [self.image, self.truth(), self.prediction(), table[self.errors()]]


def picture(scene: Scene, heading: Sequence[str], size: int = PANEL_PIXELS) -> Image.Image:
    """One picture: lines of ``heading``, the panels with their titles, and a legend of the classes
    that truth or prediction have and of the errors. ``size``: the longer side of a panel."""
    height, width = scene.target.shape
    scale = size / max(height, width)
    if scale > 1:  # whole pixels, so that none is wider than its neighbour
        scale = max(1, int(scale))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    font, bold = _font(16), _font(20)
    panels = [
        Image.fromarray(panel).resize(shape, _filter(index, scale))
        for index, panel in enumerate(scene.panels())
    ]
    step = max(shape[0], _widest(TITLES, font)) + GAP
    total = max(GAP + len(panels) * step, _widest(heading, bold) + 2 * GAP, 640)
    keys = _legend(scene)
    rows = _rows(keys, font, total - 2 * GAP)
    top = GAP + 26 * len(heading) + 8
    bottom = top + 24 + shape[1] + GAP
    page = Image.new("RGB", (total, bottom + 26 * len(rows) + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    for index, line in enumerate(heading):
        draw.text((GAP, GAP + 26 * index), line, INK, bold if index == 0 else font)
    for index, (title, panel) in enumerate(zip(TITLES, panels, strict=True)):
        left = GAP + index * step
        draw.text((left, top), title, INK, font)
        page.paste(panel, (left, top + 24))
        box = (left - 1, top + 23, left + shape[0], top + 24 + shape[1])
        draw.rectangle(box, outline=(160, 160, 168))
    for level, row in enumerate(rows):
        for left, (name, fill) in row:
            y = bottom + 26 * level
            draw.rectangle((GAP + left, y + 2, GAP + left + 18, y + 18), fill, (120, 120, 128))
            draw.text((GAP + left + 26, y), name, INK, font)
    return page


def _legend(scene: Scene) -> list[tuple[str, Colour]]:
    """(name, colour) of what is in the picture."""
    present = {int(label) for label in np.unique(scene.target)} - {IGNORE}
    present |= {label for label, mask in scene.masks.items() if mask.any()}
    keys = [(scene.names[label], colour(label)) for label in sorted(present)]
    kinds = set(np.unique(scene.errors()).tolist())
    if IGNORE in kinds:
        keys.append(("ignored", IGNORED))
    # On a label map whatever is missed is given to another class, so it is simply wrong.
    missed = "missed" if scene.overlapping else "wrong"
    keys += [
        (name, fill)
        for value, name, fill in ((0, "right", RIGHT), (1, missed, MISSED), (2, "false", FALSE))
        if value in kinds
    ]
    return keys


def _rows(
    keys: Sequence[tuple[str, Colour]], font: ImageFont.FreeTypeFont, width: int
) -> list[list[tuple[int, tuple[str, Colour]]]]:
    """The legend's entries with their left edges, as many in a row as fit."""
    rows: list[list[tuple[int, tuple[str, Colour]]]] = [[]]
    left = 0
    for key in keys:
        needed = 26 + round(font.getlength(key[0])) + 24
        if rows[-1] and left + needed > width:
            rows.append([])
            left = 0
        rows[-1].append((left, key))
        left += needed
    return rows


def _widest(lines: Sequence[str], font: ImageFont.FreeTypeFont) -> int:
    return max((round(font.getlength(line)) for line in lines), default=0)


def _filter(index: int, scale: float) -> Image.Resampling:
    """Labels are never mixed; a reduced image is."""
    return Image.Resampling.BOX if index == 0 and scale < 1 else Image.Resampling.NEAREST


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
