"""The ROIs of a folder, decoded into the tile store and checked against a label map."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchbcss.data.labels import LabelMap, official_codes
from benchbcss.data.reader import Reading, open_reader
from benchbcss.data.splits import PARTS, Split, bcss_regions, is_table, load_split, region_of
from benchbcss.data.store import Entry, TileStore
from benchbcss.errors import DataError
from benchbcss.names import checked_rois

if TYPE_CHECKING:  # a plan opens no array
    import numpy as np

_SCALE = re.compile(r"_MPP-(\d+\.\d+)")
#: what the names of the release say, of which the suites know better (docs/traps.md)
RELEASED = 0.25


@dataclass(frozen=True)
class Roi:
    """One ROI, decoded: memory-mapped image uint8 [H, W, 3] and raw codes uint8 or uint16
    [H, W]. ``site`` is the institute it comes from, None where that is not known."""

    name: str
    image_entry: Entry
    mask_entry: Entry
    site: str | None = None

    @property
    def institute(self) -> str:
        return self.site or "?"

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
        import cv2  # neither is needed to list a dataset
        import numpy as np

        codes, lookup = self.codes(), labels.lookup
        if codes.dtype != np.uint8:
            return lookup[codes]
        return np.asarray(cv2.LUT(codes, lookup[:256]))  # four times as fast

    def class_pixels(self, labels: LabelMap) -> np.ndarray:
        """int64 [K]: pixels per class, from the histogram kept by the store."""
        import numpy as np

        counts = np.zeros(len(labels.classes), np.int64)
        for label, (_, codes) in enumerate(labels.classes):
            counts[label] = sum(self.mask_entry.codes.get(code, 0) for code in codes)
        return counts

    def has_class(self, labels: LabelMap) -> bool:
        """Whether any pixel is of a class, and not ignored."""
        codes = self.mask_entry.codes
        return any(codes.get(code) for _, group in labels.classes for code in group)


class Dataset:
    """The ROIs of a folder, as its reader finds them. Nothing is decoded until ``roi`` is called.

    ``sites`` {ROI: institute} come before what the reader knows, as a split's CSV may say them.
    """

    def __init__(
        self,
        root: Path,
        store: TileStore,
        reading: Reading | None = None,
        sites: Mapping[str, str] | None = None,
    ) -> None:
        self.root = Path(root)
        self.store = store
        self.reading = reading or Reading()
        self.reader = open_reader(self.root, self.reading)
        self.names: tuple[str, ...] = self.reader.ids
        checked_rois(self.names)
        self.sites = dict(sites or {})

    @property
    def colour_normalised(self) -> bool:
        """Images that are normalised already; doing it twice is a mistake."""
        return self.reader.colour_normalised

    def code_table(self) -> dict[str, int] | None:
        """The dataset's own code table, if it has one."""
        return self.reader.code_table()

    def split(self, name: str) -> Split:
        """The split of that name or file over these ROIs; sites that its CSV names are kept."""
        beside = self.root / name
        if is_table(name) and not Path(name).exists() and beside.is_file():
            raise DataError(
                f"There is no {name} in {Path.cwd()}, and a split that is passed is not looked for "
                f"beside the data. Pass --split {shlex.quote(str(beside))}."
            )
        split = load_split(name, self.names, self.reader.patient, self.reader.site)
        self.sites |= split.sites
        return split

    def roi(self, name: str) -> Roi:
        """Decode one ROI. Raises DataError for corrupt files and mismatched sizes."""
        reader = self.reader
        source = reader.source(name)
        image = self.store.entry(
            source.image, "image", lambda: reader.image(name), source.image_variant
        )
        mask = self.store.entry(
            source.mask, "mask", lambda: reader.codes(name), source.mask_variant
        )
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{name}: the image is {image.shape[1]} x {image.shape[0]} px but its mask is "
                f"{mask.shape[1]} x {mask.shape[0]} px. They must have one size."
            )
        return Roi(name, image, mask, self.sites.get(name) or reader.site(name))

    def rois(self, names: Iterable[str], labels: LabelMap) -> dict[str, Roi]:
        """Decode and check: every mask value must be one the label map knows."""
        rois = {}
        known = labels.codes
        for name in names:
            roi = self.roi(name)
            odd = {code: n for code, n in roi.mask_entry.codes.items() if code not in known}
            if odd:
                path = self.reader.source(name).mask
                raise DataError(_unknown_codes(path, odd, roi.mask_entry.codes, known))
            rois[name] = roi
        return rois

    def doubts(self, rois: Mapping[str, Roi], mpp: float, *, bcss_codes: bool) -> tuple[str, ...]:
        """What may be read in another sense than it is meant, a sentence each: codes of BCSS
        (``bcss_codes``) in files that are not its, indices of palettes, the scale."""
        from benchbcss.data import palettes
        from benchbcss.data.ramps import look_interpolated

        doubts = []
        unknown = rois and not {*map(region_of, rois)} & bcss_regions()
        if bcss_codes and unknown and self.code_table() is None:
            first = ", ".join(f"{code} {name}" for name, code in list(official_codes().items())[:3])
            doubts.append(
                f"the masks are read with the codes of BCSS ({first}, ...), though no file is "
                f"named as one of its ROIs and there is no meta/gtruth_codes.tsv: where they are "
                f"others, say so in a suite (benchbcss data prepare writes one)"
            )
        if not self.reading.colours and not self.reading.instances:
            masks = {
                self.reader.source(name).mask: roi.mask_entry.palette for name, roi in rois.items()
            }
            if wrong := palettes.disagreement(masks):
                doubts.append(f"{wrong}: if so, give the suite a table of them (colours:)")
        if wrong := look_interpolated(roi.mask_entry.ramps for roi in rois.values()):
            doubts.append(
                f"{wrong}: if the masks were resampled, export them anew with nearest neighbour"
            )
        for one, other in _copies(rois):
            doubts.append(f"'{one}' and '{other}' are identical images, and each of them counts")
        scales = {float(m[1]) for name in rois if (m := _SCALE.search(name))} - {RELEASED}
        off = sorted(scale for scale in scales if abs(scale - mpp) > 0.05 * mpp)
        if off:
            doubts.append(
                f"names of files say {off[0]:g} um per pixel, the suite {mpp:g}, on which sizes in "
                f"um depend: set mpp in a suite of your own"
            )
        return tuple(doubts)


def _unknown_codes(
    path: Path, odd: Mapping[int, int], codes: Mapping[int, int], known: Set[int]
) -> str:
    """What a mask holds that no class is made of, and what that looks like."""
    first = min(odd)
    text = (
        f"{path}: {odd[first]} pixel(s) have the value {first}, which is not in the code table. "
        f"Fix the mask, or name the code in a suite."
    )
    top, steps = max(codes), max(known)
    if set(codes) <= {0, 255} and steps < 255:
        return f"{text} A mask of 0 and 255 has its foreground in code 255."
    if len(odd) > 8:
        return (
            f"{text} {len(odd)} such values look like a mask that was resampled with "
            f"interpolation, or saved lossy: export it anew with nearest-neighbour, as PNG or TIFF."
        )
    for factor in range(2, 256):
        if top > steps and all(code % factor == 0 and code // factor in known for code in codes):
            return f"{text} All its values are {factor} times a code: it was stretched for viewing."
    return text


def _copies(rois: Mapping[str, Roi]) -> list[tuple[str, str]]:
    """At most three pairs of names whose images are the same."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(rois[name].image_entry.pixels, name), name) for name in sorted(rois)]
    return [(one, other) for one, other in pairs if one != other][:3]


def check_scored(rois: Iterable[Roi], labels: LabelMap) -> tuple[str, ...]:
    """The classes of the mean that no ROI of a test part has. Raises DataError where none has any
    pixel of a class: nothing could be scored, after however long a training."""
    present = {code for roi in rois for code, pixels in roi.mask_entry.codes.items() if pixels}
    there = {name for name, codes in labels.classes if not present.isdisjoint(codes)}
    if not there:
        raise DataError(
            "No test ROI has a pixel of a class: all of them are ignored. Choose other test ROIs, "
            "or mend what the label map ignores."
        )
    return tuple(name for name in labels.mean if name not in there)


def identical(rois: Mapping[str, Roi], split: Split) -> tuple[str, ...]:
    """Images that two parts of ``split`` share pixel for pixel, one sentence for each pair."""
    part = {name: where for where in PARTS for name in split.part(where)}
    first: dict[str, list[str]] = {}
    for name in sorted(rois):
        first.setdefault(rois[name].image_entry.pixels, []).append(name)
    return tuple(
        f"'{one}' ({part[one]}) and '{other}' ({part[other]}) are identical images. "
        f"Keep one, or put both into one part."
        for names in first.values()
        for one, other in combinations([name for name in names if name in part], 2)
        if part[one] != part[other]
    )


def fingerprint(rois: Iterable[Roi]) -> str:
    """SHA-256 over names and file hashes of the ROIs used."""
    digest = hashlib.sha256()
    for roi in sorted(rois, key=lambda item: item.name):
        digest.update(f"{roi.name} {roi.image_entry.sha256} {roi.mask_entry.sha256}\n".encode())
    return digest.hexdigest()
