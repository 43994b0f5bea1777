"""BCSS as released: ``masks/`` and ``images/`` or ``rgbs_colorNormalized/``, equal PNG names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchbcss.data.files import pictures
from benchbcss.data.labels import read_code_table
from benchbcss.data.reader import Reading, Source, colour_variant, matched
from benchbcss.data.tables import near_miss
from benchbcss.errors import DataError

if TYPE_CHECKING:
    import numpy as np

IMAGE_FOLDERS = ("images", "rgbs_colorNormalized")
#: the barcode of The Cancer Genome Atlas: project, tissue source site, participant
PATIENT = r"^(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})-"
SITE = r"^TCGA-([A-Z0-9]{2})-[A-Z0-9]{4}-"


class BcssReader:
    """An ROI is its file name."""

    wants: ClassVar[str] = "masks/ and images/ (or rgbs_colorNormalized/) with PNGs of equal names"

    def __init__(self, folder: Path, reading: Reading) -> None:
        self.folder, self.reading = folder, reading
        if reading.files:
            raise DataError(
                f"The suite's reader is 'bcss', which takes no 'files' "
                f"({', '.join(reading.files)}). "
                f"Leave them out, or name the reader 'folders'."
            )
        present = [name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
        if not present or not (folder / "masks").is_dir():
            raise DataError(
                f"{folder} is not laid out as BCSS: it needs masks/ and images/ "
                f"(or rgbs_colorNormalized/)."
            )
        self.image_folder, self.mask_folder = folder / present[0], folder / "masks"
        images, masks = _pngs(self.image_folder), _pngs(self.mask_folder)
        for place in (self.image_folder, self.mask_folder):
            others = [path for path in pictures(place) if not _is_ours(path, place)]
            if others:
                raise DataError(
                    f"{place} holds {len(others)} picture(s) that this layout does not read, the "
                    f"first is {others[0].relative_to(place)}: it reads PNGs, and no folders in "
                    f"{place.name}. Move them out, or have all of them read by the reader "
                    f"'folders' (reader: folders in the suite; data prepare: --images "
                    f"{self.image_folder.name} --masks masks)."
                )
        if not images and not masks:
            raise DataError(f"{folder} holds no PNG: {self.image_folder} and masks/ are empty.")
        for missing, there, where in (
            (images - masks, masks - images, self.mask_folder),
            (masks - images, images - masks, self.image_folder),
        ):
            if missing:
                first = min(missing)
                near = near_miss(first, there, 0.8)
                hint = f" Is it '{near}'?" if near else ""
                raise DataError(
                    f"{len(missing)} file(s) are missing from {where}, the first is "
                    f"{first}.{hint} Image and mask carry identical names."
                )
        self.ids: tuple[str, ...] = tuple(sorted(images))

    @classmethod
    def detect(cls, folder: Path) -> bool:
        masks = _pngs(folder / "masks")
        return any(masks & _pngs(folder / name) for name in IMAGE_FOLDERS)

    @property
    def colour_normalised(self) -> bool:
        """The release's second folder is normalised already; doing it twice is a mistake."""
        return self.image_folder.name == "rgbs_colorNormalized"

    def source(self, roi: str) -> Source:
        variant = colour_variant(self.reading)
        return Source(self.image_folder / roi, self.mask_folder / roi, mask_variant=variant)

    def image(self, roi: str) -> np.ndarray:
        from benchbcss.data.images import decode_image

        return decode_image(self.image_folder / roi, self.mask_folder / roi)

    def codes(self, roi: str) -> np.ndarray:
        from benchbcss.data.images import decode_mask

        image = self.image_folder / roi
        return decode_mask(self.mask_folder / roi, self.reading.colours, image)

    def patient(self, roi: str) -> str | None:
        return matched(self.reading.patient_pattern or PATIENT, roi, "patient")

    def site(self, roi: str) -> str | None:
        return matched(self.reading.site_pattern or SITE, roi, "site")

    def code_table(self) -> dict[str, int] | None:
        path = self.folder / "meta" / "gtruth_codes.tsv"
        return read_code_table(path) if path.is_file() else None


def _pngs(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {item.name for item in folder.iterdir() if _is_ours(item, folder)}


def _is_ours(path: Path, folder: Path) -> bool:
    is_png = path.suffix.lower() == ".png" and not path.name.startswith(".")
    return is_png and path.parent == folder
