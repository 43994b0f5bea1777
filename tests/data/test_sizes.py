"""Sizes are compared by their headers: nothing that does not fit is decoded, whatever it claims."""

import struct
import zlib

import numpy as np
import pytest
from tests_support import write_folder

from benchbcss.data import images
from benchbcss.data.dataset import Dataset
from benchbcss.data.images import decode_image, decode_mask
from benchbcss.data.labels import label_map
from benchbcss.data.palettes import colours
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError
from benchbcss.tracks import pictures


def claimed(width, height, kind=0):
    """A small PNG whose header claims that size: grey (0) or RGB (2)."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.fixture
def undecoded(monkeypatch):
    """Nothing may be decoded."""

    def load(*_):
        raise AssertionError("pixels are decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)


@pytest.mark.parametrize("size", [(40_000, 40_000), (2**31 - 1, 2**31 - 1), (1, 2**30)])
@pytest.mark.parametrize(("kind", "decode"), [(2, decode_image), (0, decode_mask)])
def test_more_pixels_than_any_roi_has_are_refused(tmp_path, undecoded, size, kind, decode):
    (tmp_path / "m.png").write_bytes(claimed(*size, kind))
    with pytest.raises(DataError, match=r"m\.png (has more than|cannot be decoded)"):
        decode(tmp_path / "m.png")


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize("names", [("images", "masks"), ("img", "gt")])
def test_an_image_and_its_mask_are_compared_first(tmp_path, undecoded, folder, names):
    root = write_folder(tmp_path / "d", {"a.png": np.ones((40, 56))})
    kind = 2 if folder == "images" else 0
    (root / folder / "a.png").write_bytes(claimed(30_000, 30_000, kind))
    for old, new in zip(("images", "masks"), names, strict=True):
        (root / old).rename(root / new)
    data = Dataset(root, TileStore(tmp_path / "store"))
    with pytest.raises(DataError, match="30000 x 30000 px.*must have one size"):
        data.rois(["a.png"], label_map("bcss5"))


def test_a_prediction_is_compared_first(tmp_path, undecoded):
    path = tmp_path / "p.png"
    path.write_bytes(claimed(30_000, 30_000))
    with pytest.raises(DataError, match=r"p\.png is \(30000, 30000\), its mask is"):
        pictures.read(path, (40, 56))


def test_colours_are_not_looked_for_in_what_is_too_large(tmp_path, undecoded):
    path = tmp_path / "m.png"
    path.write_bytes(claimed(40_000, 40_000, 2))
    assert colours([path]) == {}


def test_a_claim_that_is_not_kept_is_one_sentence(tmp_path):
    """The header is of the right size, the content ends early."""
    path = tmp_path / "m.png"
    path.write_bytes(claimed(4_000, 4_000))
    with pytest.raises(DataError, match=r"m\.png cannot be decoded"):
        decode_mask(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"nothing"])
def test_no_header_has_no_size(tmp_path, content):
    (tmp_path / "m.png").write_bytes(content)
    assert images.size_of(tmp_path / "m.png") is None
