"""Decode image and mask files into arrays, or refuse them by name saying what to do.

A mask's values are codes, so nothing may change them on the way: lossy files are refused, grey
files of 1, 2 and 4 bits, and TIFFs in which 0 is white, keep the values that they store (Pillow
stretches them to 0..255, and inverts them).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchbcss.data.formats import LOSSY, Colour
from benchbcss.errors import DataError

MAX_PIXELS = 1_000_000_000  # the largest BCSS ROI at base scale has 126 Mpx; Pillow stops at 89
_LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp", "jpeg2000"}
_INTEGERS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
#: tags of TIFF and EXIF
_BITS, _PHOTOMETRIC, _ORIENTATION, _CHANNELS = 258, 262, 274, 277
_WHITE_IS_ZERO = 0


def decode_image(path: Path, beside: Path | None = None) -> np.ndarray:
    """Any RGB image file -> uint8 [H, W, 3]; alpha is dropped. Raises DataError naming the file,
    also where ``beside``, its mask, is of another size: that is seen before it is decoded."""
    with opened(path) as image:
        _check_beside(path, image, beside)
        _check_upright(path, image)
        if image.mode == "P":
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
        if image.mode not in ("RGB", "RGBA"):
            raise DataError(
                f"{path} is not an RGB image: its mode is {image.mode}. Save it as RGB with 8 bits "
                f"per channel."
            )
        if (bits := _bits(path, image)) > 8:  # Pillow keeps the upper 8: of 0..255 nothing
            raise DataError(
                f"{path} has {bits} bits per channel, and what of them is white is not known. Save "
                f"it as RGB with 8 bits per channel, scaled to 0..255."
            )
        return np.asarray(image, dtype=np.uint8)[..., :3]


def decode_mask(
    path: Path, colours: Mapping[Colour, int] | None = None, beside: Path | None = None
) -> np.ndarray:
    """A mask file -> codes [H, W], uint8 where all are below 256, else uint16.

    Grey values and palette indices are codes as stored. With ``colours`` the mask's colours are
    looked up there instead, each pixel exactly. Raises DataError naming the file and the remedy,
    also where ``beside``, its image, is of another size.
    """
    if path.suffix.lower() in LOSSY:
        raise DataError(_lossy(path, path.suffix.lower().lstrip(".").upper()))
    with opened(path) as image:
        _check_beside(path, image, beside)
        compression = str(image.info.get("compression", "")).lower()
        if image.format in ("JPEG", "WEBP", "MPO") or compression in _LOSSY_TIFF:
            raise DataError(_lossy(path, compression or str(image.format)))
        _check_upright(path, image)
        if colours:
            return _coded(path, image, colours)
        if image.mode in ("P", "1", "L", *_INTEGERS) and _tag(image, _CHANNELS) > 1:
            raise DataError(
                f"{path} has {_tag(image, _CHANNELS)} channels. Save its codes as one channel (of "
                f"one channel per class, the argmax)."
            )
        if image.mode in ("P", "1", "L"):
            return _as_stored(path, image)
        if image.mode in _INTEGERS:
            return _narrow(path, np.asarray(image))
        raise DataError(
            f"{path} is not a mask with one channel of codes in 8 or 16 bits: its mode is "
            f"{image.mode}. {_remedy(image.mode)}"
        )


def size_of(path: Path) -> tuple[int, int] | None:
    """(height, width) as the file's header says, nothing decoded; None where none can be read."""
    try:
        with opened(path) as image:
            return image.height, image.width
    except DataError:
        return None  # decoding says what is wrong with it


def _check_beside(path: Path, image: Image.Image, beside: Path | None) -> None:
    other = size_of(beside) if beside is not None else None
    if other not in (None, (image.height, image.width)):
        raise DataError(
            f"{path} is {image.width} x {image.height} px but {beside} is {other[1]} x {other[0]} "
            f"px. An image and its mask must have one size."
        )


def _remedy(mode: str) -> str:
    if mode in ("RGB", "RGBA"):
        return "Save its codes as one channel, or give the suite a table of its colours (colours:)."
    if mode == "F":
        return "Save its values as whole numbers."
    return "Save its codes as one channel without alpha."


def _lossy(path: Path, kind: str) -> str:
    return (
        f"{path} is lossy ({kind}), which changes codes at borders. Export the mask anew as PNG or "
        f"uncompressed TIFF; converting this file does not bring the codes back."
    )


def _check_upright(path: Path, image: Image.Image) -> None:
    """Pillow turns TIFFs as their tag says, and leaves JPEGs and PNGs; programs that draw masks
    differ too."""
    turned = _orientation(image)
    if turned in range(2, 9):
        raise DataError(
            f"{path} is marked as turned or mirrored (EXIF orientation {turned}), which some "
            f"programs obey and others do not, so its partner may not lie on it. Save its pixels "
            f"the way round that fits, without that mark."
        )


def _orientation(image: Image.Image) -> int:
    """1 is upright; what is not said, or damaged, is 0."""
    if image.format != "TIFF":  # which loses it when it is read
        image.load()  # a PNG's may lie behind its pixels
    try:
        with warnings.catch_warnings(action="ignore"):
            return int(image.getexif().get(_ORIENTATION, 0))
    except Exception:  # whatever a damaged list of tags makes of it: the pixels are sound
        return 0


def _as_stored(path: Path, image: Image.Image) -> np.ndarray:
    """uint8 [H, W]: palette indices, and grey values neither stretched nor inverted."""
    values = np.asarray(image, dtype=np.uint8)
    if image.mode == "P":
        return values
    top = 1 if image.mode == "1" else 255
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
        values = np.uint8(top) - values
    bits = _bits(path, image)
    return values // np.uint8(255 // (2**bits - 1)) if top == 255 and bits in (2, 4) else values


def _bits(path: Path, image: Image.Image) -> int:
    """Bits per channel as the file stores them; 0 where its format has 8."""
    depth, kind = _png_header(path)
    if kind >= 0:
        return depth
    return _tag(image, _BITS)


def _tag(image: Image.Image, tag: int) -> int:
    """The (largest) number of a TIFF's tag; 0 where it has none, and for other formats."""
    value = getattr(image, "tag_v2", {}).get(tag, 0)
    return int(max(value) if isinstance(value, tuple) else value)


def _narrow(path: Path, values: np.ndarray) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"{path} has values from {low} to {high}; codes are 0..65535. "
            f"Save the codes themselves."
        )
    return values.astype(np.uint8 if high < 256 else np.uint16)


def _coded(path: Path, image: Image.Image, colours: Mapping[Colour, int]) -> np.ndarray:
    """Codes by colour: the palette's where there is one, a grey v as (v, v, v)."""
    depth = _bits(path, image)
    if image.mode not in ("RGB", "RGBA", "P", "L", "1") or (depth > 8 and image.mode != "P"):
        raise DataError(
            f"{path} is not colour-coded in 8 bits per channel: its mode is {image.mode}. Save it "
            f"as RGB, or leave out the suite's colours."
        )
    with_alpha = image.convert("RGBA")
    rgb = np.asarray(with_alpha.convert("RGB"), np.uint32)
    packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    _check_alpha(path, packed, np.asarray(with_alpha.getchannel("A")))
    present, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    table = {red << 16 | green << 8 | blue: code for (red, green, blue), code in colours.items()}
    odd = [index for index, value in enumerate(present.tolist()) if value not in table]
    if odd:
        most = max(odd, key=lambda index: int(counts[index]))
        pixels = int(counts[odd].sum())
        many = " So many look like resampling or lossy export." if len(odd) > 8 else ""
        raise DataError(
            f"{path}: {pixels} pixel(s) have {len(odd)} colour(s) that the suite's colours do not "
            f"name, mostly #{int(present[most]):06x}. Add it to the suite, or mend the mask.{many}"
        )
    codes = np.array([table[value] for value in present.tolist()])
    kind = np.uint8 if int(codes.max()) < 256 else np.uint16
    return codes.astype(kind)[inverse].reshape(packed.shape)


def _check_alpha(path: Path, packed: np.ndarray, alpha: np.ndarray) -> None:
    """A colour may be drawn and, where all is transparent, be what lies there unseen."""
    unseen = alpha == 0
    if unseen.any() and not unseen.all():
        both = np.intersect1d(packed[unseen], packed[~unseen])
        if len(both):
            raise DataError(
                f"{path}: #{int(both[0]):06x} is drawn in some places and transparent in others, "
                f"and only one of them can be its class. Save the mask without transparency."
            )


def _png_header(path: Path) -> tuple[int, int]:
    """(bits per channel, colour type) of a PNG; (0, -1) for other files."""
    with open(path, "rb") as handle:
        head = handle.read(26)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26:
        return 0, -1
    depth, kind = struct.unpack(">BB", head[24:26])
    return depth, kind


#: what Pillow raises for files that are damaged, whatever the format
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error),
    *(TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
)


class opened:
    """An image file; what goes wrong with it, while it is open, is a DataError naming it.

    Pillow's decompression-bomb limit is lower than the largest real ROI, so it is lifted here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.image: Image.Image | None = None

    def __enter__(self) -> Image.Image:
        self.old = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            if not self.path.is_file():  # a pipe would be waited for without end
                what = "is no regular file" if self.path.exists() else "does not exist"
                raise DataError(f"{self.path} {what}. Put the image file itself there.")
            self.image = Image.open(self.path)
            _check_pages(self.path, self.image)
        except BaseException as error:
            self.__exit__(type(error), error)
            raise
        return self.image

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        Image.MAX_IMAGE_PIXELS = self.old
        if self.image is not None:
            self.image.close()
        if isinstance(error, UnidentifiedImageError) and (holds := _whole_tiff(self.path)):
            raise DataError(
                f"{self.path} holds {holds}, which is not read. Save an image as RGB with 8 bits "
                f"per channel, a mask as one channel of codes in 8 or 16 bits (of one channel per "
                f"class, the argmax)."
            ) from error
        if isinstance(error, _BROKEN):
            raise DataError(
                f"{self.path} cannot be decoded ({error}). The file is corrupt or truncated: copy "
                f"it again."
            ) from error


def _whole_tiff(path: Path) -> str:
    """What a TIFF holds that is sound and of no kind that Pillow knows; empty for other files."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            return f"values of {page.dtype} in the shape {page.shape}"
    except Exception:  # whatever a damaged file makes of it
        return ""


def _check_pages(path: Path, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{path} has more than {MAX_PIXELS:,} pixels.")
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        size = image.size
        image.seek(1)
        if image.size[0] >= size[0]:  # a pyramid's further pages are smaller
            raise DataError(f"{path} has {pages} pages. Save the one that is meant as a file.")
        image.seek(0)
