"""Mask files whose values are codes, and files that only look like it."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.images import decode_image, decode_mask
from benchbcss.errors import DataError

CODES = np.arange(24, dtype=np.uint8).reshape(4, 6)


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(path, values, depth, colour=0):
    """A PNG of one channel with ``depth`` bits per pixel, written by hand."""
    height, width = values.shape
    bits = np.unpackbits(values[..., None].astype(np.uint8), axis=-1)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    palette = chunk(b"PLTE", bytes(range(48))) if colour == 3 else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("colour", [0, 3])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_pngs_of_few_bits_keep_the_codes_that_they_store(tmp_path, depth, colour):
    values = (np.arange(7 * 13) % min(2**depth, 16)).reshape(7, 13)
    decoded = decode_mask(png(tmp_path / "m.png", values, depth, colour))
    assert decoded.dtype == np.uint8
    assert (decoded == values).all()


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".TIFF", ".bmp"])
def test_eight_bit_masks(tmp_path, suffix):
    Image.fromarray(CODES).save(tmp_path / f"m{suffix}")
    assert (decode_mask(tmp_path / f"m{suffix}") == CODES).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_masks(tmp_path, suffix):
    for top, kind in ((200, np.uint8), (40000, np.uint16)):
        codes = np.array([[0, 1], [7, top]], np.uint16)
        Image.fromarray(codes).save(tmp_path / f"m{suffix}")
        decoded = decode_mask(tmp_path / f"m{suffix}")
        assert decoded.dtype == kind
        assert (decoded == codes).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_lossless_tiff(tmp_path, compression):
    Image.fromarray(CODES).save(tmp_path / "m.tif", compression=compression)
    assert (decode_mask(tmp_path / "m.tif") == CODES).all()


def test_lossy_masks_are_refused_by_name(tmp_path):
    Image.fromarray(CODES).save(tmp_path / "m.jpg")
    Image.fromarray(CODES).save(tmp_path / "disguised.png", "JPEG")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "m.tif", compression="jpeg")
    for name in ("m.jpg", "disguised.png", "m.tif"):
        with pytest.raises(DataError, match=rf"{name} is lossy .*Export the mask anew as PNG"):
            decode_mask(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        ("RGB", "give the suite a table of its colours"),
        ("RGBA", "give the suite a table of its colours"),
        ("LA", "without alpha"),
        ("F", "as whole numbers"),
    ],
)
def test_masks_that_hold_no_codes(tmp_path, mode, remedy):
    path = tmp_path / ("m.tif" if mode == "F" else "m.png")
    Image.new(mode, (4, 3)).save(path)
    with pytest.raises(DataError, match=f"its mode is {mode}.*{remedy}"):
        decode_mask(path)


def test_values_beyond_sixteen_bits(tmp_path):
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "m.tif")
    with pytest.raises(DataError, match="from 0 to 70000; codes are 0..65535"):
        decode_mask(tmp_path / "m.tif")


COLOURS = {(0, 0, 0): 0, (255, 0, 0): 3, (0, 0, 255): 300}


def coded():
    rng = np.random.default_rng(0)
    codes = rng.choice([0, 3, 300], (9, 11)).astype(np.uint16)
    back = {code: colour for colour, code in COLOURS.items()}
    return codes, np.array([[back[int(c)] for c in row] for row in codes], np.uint8)


def test_colours_are_looked_up_exactly(tmp_path):
    codes, rgb = coded()
    Image.fromarray(rgb).save(tmp_path / "m.png")
    Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    Image.fromarray(np.dstack([rgb, np.full(codes.shape, 255, np.uint8)])).save(tmp_path / "a.png")
    for name in ("m.png", "p.png", "a.png"):
        assert (decode_mask(tmp_path / name, COLOURS) == codes).all(), name


def test_a_colour_without_a_code_is_named(tmp_path):
    _, rgb = coded()
    rgb[0, :4] = (254, 1, 0)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"4 pixel\(s\) have 1 colour\(s\) .* mostly #fe0100"):
        decode_mask(tmp_path / "m.png", COLOURS)


def test_colours_of_sixteen_bits_are_refused(tmp_path):
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    raw = zlib.compress(b"\0" + bytes([0, 77] * 6))
    (tmp_path / "m.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match="not colour-coded in 8 bits"):
        decode_mask(tmp_path / "m.png", COLOURS)


def test_images_with_a_palette_and_of_several_formats(tmp_path):
    rgb = np.random.default_rng(0).choice([0, 90, 255], (5, 6, 3)).astype(np.uint8)
    for suffix in (".png", ".tif", ".bmp"):
        Image.fromarray(rgb).save(tmp_path / f"i{suffix}")
        assert (decode_image(tmp_path / f"i{suffix}") == rgb).all()
    image = Image.fromarray(rgb).quantize(64)
    image.save(tmp_path / "p.png")
    assert (decode_image(tmp_path / "p.png") == np.asarray(image.convert("RGB"))).all()
    Image.fromarray(rgb).save(tmp_path / "i.jpg", quality=95)
    assert decode_image(tmp_path / "i.jpg").shape == (5, 6, 3)


def test_a_stack_of_pages_is_refused_and_a_pyramid_read(tmp_path):
    page = Image.fromarray(np.zeros((8, 8, 3), np.uint8) + 9)
    page.save(tmp_path / "stack.tif", save_all=True, append_images=[page])
    with pytest.raises(DataError, match=r"stack\.tif has 2 pages"):
        decode_image(tmp_path / "stack.tif")
    page.save(tmp_path / "pyramid.tif", save_all=True, append_images=[page.resize((4, 4))])
    assert decode_image(tmp_path / "pyramid.tif").shape == (8, 8, 3)
