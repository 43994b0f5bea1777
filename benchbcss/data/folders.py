"""Plain folders of images and masks, in two folders or one, nested or not.

A mask is told by its folder (``masks``, ``labelsTr``, ``train_masks``, ...) or, where no folder is
named so, by its stem's end (``_mask``, ``_anno``, ...); a suite may say both, or list the pairs in
a CSV. ``pairing`` says which image belongs to which mask. An ROI is called ``STEM.png``, whatever
its files' format, so that predictions have a name; where a stem occurs in two folders, the folders'
names join it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from benchbcss.data.files import pictures
from benchbcss.data.formats import LOSSY
from benchbcss.data.pairing import (
    IMAGE_ENDS,
    IMAGE_NAMES,
    MASK_ENDS,
    MASK_NAMES,
    Pair,
    contradiction,
    pair_by,
    place_of,
    stem_of,
    words_of,
)
from benchbcss.data.reader import Reading, Source, colour_variant, matched
from benchbcss.data.tables import near_miss, read_table
from benchbcss.errors import DataError

if TYPE_CHECKING:
    import numpy as np


class FolderReader:
    """Pairs found in a folder, or listed in ``Reading.pairs`` (columns image, mask)."""

    wants: ClassVar[str] = (
        "images and masks (PNG, TIFF, BMP; images also JPEG) in folders named so, or in one folder "
        "with masks called NAME_mask or NAME_anno; other names need 'files:' in the suite"
    )
    colour_normalised = False

    def __init__(self, folder: Path, reading: Reading) -> None:
        self.folder, self.reading = folder, reading
        pairs = _listed(folder, reading.pairs) if reading.pairs else _paired(folder, reading)
        for pair in pairs:
            if pair.mask.suffix.lower() in LOSSY:
                raise DataError(
                    f"The mask {pair.mask} is lossy ({pair.mask.suffix}), which changes codes at "
                    f"borders. Export the masks anew as PNG or TIFF."
                )
        self._pairs = _named(folder, pairs)
        self.ids: tuple[str, ...] = tuple(sorted(self._pairs))

    @classmethod
    def detect(cls, folder: Path) -> bool:
        """Whether there are images and masks; which of them do not pair is said on opening."""
        try:
            images, masks = _sorted_out(folder, Reading())
        except DataError:
            return True  # a folder that cannot be read is named on opening
        return bool(images and masks)

    def source(self, roi: str) -> Source:
        pair, variant = self._pairs[roi], colour_variant(self.reading)
        if self.reading.instances:
            variant += "instances"
        return Source(pair.image, pair.mask, mask_variant=variant)

    def image(self, roi: str) -> np.ndarray:
        from benchbcss.data.images import decode_image

        return decode_image(self._pairs[roi].image, self._pairs[roi].mask)

    def codes(self, roi: str) -> np.ndarray:
        from benchbcss.data.images import decode_mask

        pair = self._pairs[roi]
        codes = decode_mask(pair.mask, self.reading.colours, pair.image)
        return (codes > 0).astype("uint8") if self.reading.instances else codes

    def patient(self, roi: str) -> str | None:
        """From the pairs' column ``patient``, else by the suite's pattern on the image's path."""
        pattern = self.reading.patient_pattern
        return self._pairs[roi].patient or matched(pattern, self._path(roi), "patient")

    def site(self, roi: str) -> str | None:
        pattern = self.reading.site_pattern
        return self._pairs[roi].site or matched(pattern, self._path(roi), "site")

    def code_table(self) -> dict[str, int] | None:
        return None

    def _path(self, roi: str) -> str:
        return self._pairs[roi].image.relative_to(self.folder).as_posix()


def _paired(folder: Path, reading: Reading) -> list[Pair]:
    for kind, named in (("images", reading.images), ("masks", reading.masks)):
        if named and (".." in Path(named).parts or not (folder / named).is_relative_to(folder)):
            raise DataError(
                f"'{kind}' names '{named}', which is not within {folder}. Pass the folder that "
                f"holds both, or put a link to it there."
            )
    images, masks = _sorted_out(folder, reading)
    ends = (reading.mask_suffix,) if reading.mask_suffix else MASK_ENDS
    if not images or not masks:
        raise DataError(_nothing(folder, reading, "image" if not images else "mask"))
    bases = (folder / (reading.images or "."), folder / (reading.masks or "."))
    by_place = pair_by(images, masks, ends, bases)
    left_images = [path for path in images if path not in by_place]
    taken = {pair.mask for pair in by_place.values()}
    left_masks = [path for path in masks if path not in taken]
    contradict = contradiction(images, masks, bases)
    by_stem = {
        image: pair
        for image, pair in pair_by(left_images, left_masks, ends, None).items()
        if not contradict(image, pair.mask)
    }
    taken |= {pair.mask for pair in by_stem.values()}
    together = by_place | by_stem
    for paths, done, ours, theirs in (
        (images, together.keys(), "image", "mask"),
        (masks, taken, "mask", "image"),
    ):
        alone = sorted(path for path in paths if path not in done)
        if alone:
            others = sorted({path.stem for path in (masks if ours == "image" else images)})
            near = near_miss(alone[0].stem, others, 0.8)
            hint = f"; the nearest is '{near}'" if near else _bare_folder(folder, alone, done)
            longer = [
                name for name in others if re.match(re.escape(alone[0].stem) + r"[\s_.-]", name)
            ]
            if ours == "image" and len(longer) > 1:
                hint = (
                    f"; masks such as '{longer[0]}' and '{longer[1]}' begin so: an image has one "
                    f"mask, into which those of single classes must be merged, a code for each"
                )
            if near == alone[0].stem:
                hint = f"; another of this name lies in a folder that is not its {theirs}s'"
            raise DataError(
                f"{len(alone)} {ours}(s) in {folder} have no {theirs}, the first is "
                f"{alone[0].relative_to(folder)}{hint}. Rename it as its {theirs}, move it out, or "
                f"list the pairs in a CSV (files: {{pairs: FILE.csv}} in the suite)."
            )
    return list(together.values())


def _nothing(folder: Path, reading: Reading, what: str) -> str:
    """That there is no image, or no mask: why, and what to do."""
    for kind, named in (("images", reading.images), ("masks", reading.masks)):
        if named and not (folder / named).is_dir():
            near = near_miss(named, [path.name for path in folder.iterdir() if path.is_dir()])
            hint = f" Is it '{near}'?" if near else ""
            return f"There is no folder '{named}' in {folder}, which '{kind}' names.{hint}"
    if bool(reading.images) != bool(reading.masks) and not reading.mask_suffix:
        given, other = ("images", "masks") if reading.images else ("masks", "images")
        return (
            f"{folder}: '{given}' alone does not say which files are {other}. Name their folder "
            f"too (files: {{images: DIR, masks: DIR}}; data prepare: --images DIR --masks DIR)."
        )
    return (
        f"{folder} holds no {what} that can be told by its folder or name. Say which files are "
        f"which in the suite: 'files: {{images: DIR, masks: DIR}}', '{{mask_suffix: _END}}' or "
        f"'{{pairs: FILE.csv}}'."
    )


def _bare_folder(folder: Path, alone: list[Path], done: Collection[Path]) -> str:
    """Where a whole folder has no partners, that it has none: a test set without masks, say."""
    bare = alone[0].parent
    if bare == folder or any(path.parent == bare for path in done):
        return ""
    return (
        f", and none in {bare.relative_to(folder)} has one: name the folders to read in the suite "
        f"(files: {{images: DIR, masks: DIR}}; data prepare: --images DIR --masks DIR)"
    )


def _listed(folder: Path, table: str) -> list[Pair]:
    path = folder / table
    pairs: list[Pair] = []
    seen: dict[Path, int] = {}
    for number, row in read_table(path, ("image", "mask")):
        image, mask = (_existing(folder, row[column], path, number) for column in ("image", "mask"))
        for kind, file in (("image", image), ("mask", mask)):
            if before := seen.get(file):
                share = " Where two images do share one, copy it." if kind == "mask" else ""
                raise DataError(
                    f"{path}, row {number}: the {kind} '{row[kind]}' is listed twice, first in row "
                    f"{before}.{share}"
                )
            seen[file] = number
        origin = (row.get("patient") or None, row.get("site") or None)
        pairs.append(Pair(image, mask, stem_of(image, IMAGE_ENDS), *origin))
    if not pairs:
        raise DataError(f"{path} lists no pair of image and mask.")
    return pairs


def _existing(folder: Path, name: str, table: Path, number: int) -> Path:
    """The file of that name in ``folder``, whatever Unicode form its name is stored in."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts:
        raise DataError(f"{table}, row {number}: '{name}' must lie within {folder}.")
    for form in ("NFC", "NFD"):
        path = folder / unicodedata.normalize(form, str(pure))
        if path.is_file():
            return path
    there = folder / pure.parent
    near = near_miss(pure.name, [path.name for path in there.glob("*")]) if name else None
    hint = f" Is it '{near}'?" if near else ""
    raise DataError(f"{table}, row {number}: there is no file '{name}' in {folder}.{hint}")


def _sorted_out(folder: Path, reading: Reading) -> tuple[list[Path], list[Path]]:
    """(images, masks) among the files of ``folder``."""
    if reading.images or reading.masks:
        images = _files(folder / (reading.images or "."))
        masks = _files(folder / (reading.masks or "."))
        if reading.mask_suffix:
            masks = [path for path in masks if _ends_so(path, reading.mask_suffix)]
        return [path for path in images if path not in set(masks)], masks
    files = _files(folder)
    if reading.mask_suffix:
        masks = [path for path in files if _ends_so(path, reading.mask_suffix)]
    else:
        masks = _inside(files, folder, MASK_NAMES)
        masks = masks or [path for path in files if stem_of(path, MASK_ENDS) != stem_of(path, ())]
    known = set(masks)
    images = [path for path in files if path not in known]
    return _inside(images, folder, IMAGE_NAMES) or images, masks


def _ends_so(path: Path, end: str) -> bool:
    return stem_of(path, (end,)) != stem_of(path, ())


def _files(folder: Path) -> list[Path]:
    return pictures(folder) if folder.is_dir() else []


def _inside(paths: Iterable[Path], folder: Path, names: set[str]) -> list[Path]:
    """Those in folders of these names; else in folders with such a word, as in "train_masks"."""
    paths = list(paths)
    for split in (_whole, words_of):
        chosen = [
            path
            for path in paths
            if any(names & set(split(part)) for part in path.relative_to(folder).parts[:-1])
        ]
        if chosen:
            return chosen
    return []


def _whole(part: str) -> list[str]:
    return [part.lower()]


def _named(folder: Path, pairs: list[Pair]) -> dict[str, Pair]:
    """Pairs by the name of their ROI."""
    stems: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        stems[pair.stem].append(pair)
    named: dict[str, Pair] = {}
    for stem, same in stems.items():
        for pair in same:
            parts = (*place_of(pair.image.relative_to(folder)), stem) if len(same) > 1 else (stem,)
            name = "__".join(unicodedata.normalize("NFC", part) for part in parts) + ".png"
            if name in named:
                raise DataError(
                    f"{pair.image} and {named[name].image} would both be called {name}. Rename one."
                )
            named[name] = pair
    return named
