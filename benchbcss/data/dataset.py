"""A BCSS-shaped folder: ``images/`` or ``rgbs_colorNormalized/``, and ``masks/``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchbcss.data.labels import LabelMap, read_code_table
from benchbcss.data.splits import institute_of
from benchbcss.data.store import Entry, TileStore
from benchbcss.errors import DataError

IMAGE_FOLDERS = ("images", "rgbs_colorNormalized")


@dataclass(frozen=True)
class Roi:
    """One ROI, decoded: memory-mapped image uint8 [H, W, 3] and raw codes uint8 [H, W]."""

    name: str
    image_entry: Entry
    mask_entry: Entry

    @property
    def institute(self) -> str:
        return institute_of(self.name)

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.mask_entry.shape
        return height, width

    def image(self) -> np.ndarray:
        return self.image_entry.open()

    def codes(self) -> np.ndarray:
        return self.mask_entry.open()

    def target(self, labels: LabelMap) -> np.ndarray:
        """uint8 [H, W]: labels 0..K-1, 255 where ignored."""
        mapped: np.ndarray = labels.lookup[self.codes()]
        return mapped

    def class_pixels(self, labels: LabelMap) -> np.ndarray:
        """int64 [K]: pixels per class, from the histogram kept by the store."""
        counts = np.zeros(len(labels.classes), np.int64)
        for label, (_, codes) in enumerate(labels.classes):
            counts[label] = sum(self.mask_entry.codes.get(code, 0) for code in codes)
        return counts


class Dataset:
    """The files of a folder, paired by name. Nothing is decoded until ``roi`` is called."""

    def __init__(self, root: Path, store: TileStore) -> None:
        self.root = Path(root)
        self.store = store
        if not self.root.is_dir():
            raise DataError(f"The data folder {root} does not exist.")
        folders = [name for name in IMAGE_FOLDERS if (self.root / name).is_dir()]
        if not folders or not (self.root / "masks").is_dir():
            raise DataError(
                f"{root} is not laid out as BCSS: it needs masks/ and images/ "
                f"(or rgbs_colorNormalized/)."
            )
        self.image_folder = self.root / folders[0]
        self.mask_folder = self.root / "masks"
        images = _pngs(self.image_folder)
        masks = _pngs(self.mask_folder)
        if not images and not masks:
            raise DataError(f"{root} holds no PNG: {self.image_folder} and masks/ are empty.")
        for missing, folder in ((images - masks, "masks"), (masks - images, folders[0])):
            if missing:
                raise DataError(
                    f"{len(missing)} file(s) are missing from {self.root / folder}, the first is "
                    f"{min(missing)}. Image and mask carry identical names."
                )
        self.names: tuple[str, ...] = tuple(sorted(images))

    @property
    def colour_normalised(self) -> bool:
        """The release's second folder is normalised already; doing it twice is a mistake."""
        return self.image_folder.name == "rgbs_colorNormalized"

    def code_table(self) -> dict[str, int] | None:
        """The dataset's own code table, if it has one."""
        path = self.root / "meta" / "gtruth_codes.tsv"
        return read_code_table(path) if path.is_file() else None

    def roi(self, name: str) -> Roi:
        """Decode one ROI. Raises DataError for corrupt files and mismatched sizes."""
        image = self.store.entry(self.image_folder / name, "image")
        mask = self.store.entry(self.mask_folder / name, "mask")
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{name}: the image is {image.shape[1]} x {image.shape[0]} px but its mask is "
                f"{mask.shape[1]} x {mask.shape[0]} px. They must have one size."
            )
        return Roi(name, image, mask)

    def rois(self, names: Iterable[str], labels: LabelMap) -> dict[str, Roi]:
        """Decode and check: every mask value must be one the label map knows."""
        found = {}
        for name in names:
            roi = self.roi(name)
            for code, count in sorted(roi.mask_entry.codes.items()):
                if labels.lookup[code] == 254:
                    raise DataError(
                        f"{self.mask_folder / name}: {count} pixel(s) have the value {code}, which "
                        f"is not in the code table. Fix the mask, or name the code in a suite."
                    )
            found[name] = roi
        return found


def fingerprint(rois: Iterable[Roi]) -> str:
    """SHA-256 over names and file hashes of the ROIs used."""
    digest = hashlib.sha256()
    for roi in sorted(rois, key=lambda item: item.name):
        digest.update(f"{roi.name} {roi.image_entry.sha256} {roi.mask_entry.sha256}\n".encode())
    return digest.hexdigest()


def _pngs(folder: Path) -> set[str]:
    return {
        item.name
        for item in folder.iterdir()
        if item.suffix.lower() == ".png" and not item.name.startswith(".")
    }
