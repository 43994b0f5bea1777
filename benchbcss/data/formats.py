"""What is known of image files by their names alone: no pixel is decoded here, nothing imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

LOSSY = (".jpg", ".jpeg", ".webp")
PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
Colour = tuple[int, int, int]

#: what cannot be read as pixels, by the ends of names, and what to do
_ELSEWHERE = {
    (".nii", ".nii.gz"): (
        "NIfTI is not read, since it does not say which side of an image is up. Save each as PNG: "
        "with nibabel, Image.fromarray(nibabel.load(FILE).get_fdata()[..., 0].T.astype('uint8'))"
    ),
    (".npz",): "An .npz holds several arrays, such as nnU-Net's probabilities: save label maps",
    (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".dcm"): (
        "Whole slides are not read: cut regions out of them as PNG or TIFF"
    ),
    (".json", ".geojson", ".xml"): "Outlines are not read: draw them into masks of one channel",
    (".mat", ".h5", ".hdf5", ".zarr"): "Arrays are not read: save them as PNG or TIFF",
}


def elsewhere(names: Iterable[str]) -> str:
    """What kinds of files ``names`` are, where none is an image, and what to do; may be empty."""
    ends = Counter(_end(name) for name in names)
    ends.pop("", None)
    if not ends:
        return ""
    shown = ", ".join(end for end, _ in ends.most_common(5))
    advice = next((f" {a}." for kinds, a in _ELSEWHERE.items() if {*kinds} & {*ends}), "")
    return f" Its files are {shown}.{advice}"


def _end(name: str) -> str:
    pure = PurePath(name.lower())
    packed = pure.suffix == ".gz" and len(pure.suffixes) > 1
    return "".join(pure.suffixes[-2:]) if packed else pure.suffix
