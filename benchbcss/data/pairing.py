"""Which image belongs to which mask, by folders and stems alone.

Equal stems pair, as they are or without an end that says what a file is (``_mask``, ``_0000``), in
corresponding folders before any others.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from benchbcss.errors import DataError

IMAGE_NAMES = {"images", "image", "imgs", "img", "rgb", "rgbs", "tissue", "imagestr", "imagests"}
MASK_NAMES = {
    *("masks", "mask", "labels", "label", "annotations", "annotation", "anno", "gt"),
    *("groundtruth", "ground_truth", "segmentations", "labelstr", "labelsts"),
}
MASK_ENDS = tuple(
    f"{joint}{word}"
    for word in ("mask", "masks", "anno", "annotation", "label", "labels", "gt", "seg")
    for joint in "_-."
)
IMAGE_ENDS = ("_image", "_img", "-image", "_0000")  # the last is nnU-Net's first channel
_OME = ".ome"  # before .tif: of either kind


@dataclass(frozen=True)
class Pair:
    """An image and its mask; ``stem`` is what they are called."""

    image: Path
    mask: Path
    stem: str
    patient: str | None = None
    site: str | None = None


def pair_by(
    images: Iterable[Path],
    masks: Iterable[Path],
    ends: Iterable[str],
    bases: tuple[Path, Path] | None,
) -> dict[Path, Pair]:
    """{image: pair} of equal stems, in corresponding folders below ``bases``, or anywhere (None).
    Stems that are equal as they are pair before those that are without their ends.

    Raises DataError where two files of one kind answer to one name."""
    pairs: dict[Path, Pair] = {}
    for image_ends, mask_ends in (((), ()), ((*IMAGE_ENDS, _OME), (*ends, _OME))):
        groups: dict[tuple[object, str], tuple[list[Path], list[Path]]]
        groups = defaultdict(lambda: ([], []))
        for kind, paths, endings in ((0, images, image_ends), (1, masks, mask_ends)):
            for path in paths:
                place = place_of(path.relative_to(bases[kind])) if bases else ()
                groups[place, stem_of(path, endings)][kind].append(path)
        paired, taken = {*pairs}, {pair.mask for pair in pairs.values()}
        for (_, stem), (some_images, some_masks) in groups.items():
            free = ({*some_images} - paired, {*some_masks} - taken)
            if not some_images or not some_masks or not any(free):
                continue
            for candidates, what in ((some_images, "images"), (some_masks, "masks")):
                if len(candidates) > 1:
                    listing = " and ".join(str(path) for path in sorted(candidates)[:3])
                    merge = " Masks of one class each must be merged." if what == "masks" else ""
                    raise DataError(
                        f"'{stem}' has {len(candidates)} {what}: {listing}. Keep one, or list "
                        f"the pairs in a CSV (files: {{pairs: FILE.csv}} in the suite).{merge}"
                    )
            if all(free):
                pairs[some_images[0]] = Pair(some_images[0], some_masks[0], stem)
    return pairs


def contradiction(
    images: Iterable[Path], masks: Iterable[Path], bases: tuple[Path, Path]
) -> Callable[[Path, Path], bool]:
    """Whether an image and a mask lie in folders of different names of which one holds both kinds:
    ``p2/1`` without a mask is not the image of ``p3/1``, though their stems are equal."""
    image_places = {place_of(path.relative_to(bases[0])) for path in images}
    mask_places = {place_of(path.relative_to(bases[1])) for path in masks}

    def contradict(image: Path, mask: Path) -> bool:
        one, other = place_of(image.relative_to(bases[0])), place_of(mask.relative_to(bases[1]))
        return bool(one and other) and (one in mask_places or other in image_places)

    return contradict


def words_of(part: str) -> list[str]:
    return re.split(r"[\s_.-]+", part.lower())


def place_of(path: PurePath) -> tuple[str, ...]:
    """The folders of a relative path, without words that say images or masks lie there; nnU-Net's
    ``imagesTr`` and ``labelsTr`` are both ``tr``."""
    places = []
    for part in path.parts[:-1]:
        if nnunet := re.fullmatch("(?:images|labels)(t[rs])", part.lower()):
            places.append(nnunet[1])
        elif not {part.lower()} & (IMAGE_NAMES | MASK_NAMES):
            words = [word for word in words_of(part) if word not in IMAGE_NAMES | MASK_NAMES]
            named = len(words) < len(words_of(part))
            places.append("_".join(words) if named else part)
    return tuple(place for place in places if place)


def stem_of(path: Path, endings: Iterable[str]) -> str:
    stem = unicodedata.normalize("NFC", path.stem)
    for end in (unicodedata.normalize("NFC", end) for end in endings):
        if stem.lower().endswith(end.lower()) and len(stem) > len(end):
            return stem[: -len(end)]
    return stem
