"""Mask files whose values are codes, and files that only look like it."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
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


def tiff(path, values, depth, photometric):
    """A grey TIFF with ``depth`` bits per pixel, written by hand."""
    height, width = values.shape
    bits = np.unpackbits(values[..., None].astype(np.uint8), axis=-1)[..., 8 - depth :]
    data = np.packbits(bits.reshape(height, -1), axis=1).tobytes()
    data += b"\0" * (len(data) % 2)
    tags = [(256, width), (257, height), (258, depth), (259, 1), (262, photometric), (273, 8)]
    tags += [(277, 1), (278, height), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(start + data + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


@pytest.mark.parametrize("photometric", [0, 1], ids=["white is zero", "black is zero"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_tiffs_keep_the_codes_that_they_store(tmp_path, depth, photometric):
    """ImageJ writes binary masks in which 0 is white; GDAL and ImageMagick write few bits."""
    values = (np.arange(7 * 13) % min(2**depth, 22)).reshape(7, 13)
    path = tiff(tmp_path / "m.tif", values, depth, photometric)
    decoded = decode_mask(path)
    assert decoded.dtype == np.uint8
    assert (decoded == values).all()
    if depth in (1, 8):  # for others it needs a further package
        assert (tifffile.imread(path) == values).all()


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


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 8, 2), np.uint8), "2 channels.*the argmax"),
        (np.zeros((8, 8, 6), np.uint8), r"values of uint8 in the shape \(8, 8, 6\).*the argmax"),
        (
            np.zeros((8, 8), np.int64),
            r"values of int64 in the shape \(8, 8\).*one channel of codes",
        ),
        (np.zeros((6, 8, 8), np.uint8), "6 pages"),
    ],
)
def test_tiffs_of_several_channels_or_of_wide_numbers_are_no_masks(tmp_path, array, message):
    """Of two channels Pillow reads the first; the others it calls damaged."""
    options = {"photometric": "minisblack"}
    if array.shape[-1] < 8:
        options["planarconfig"] = "contig"
    tifffile.imwrite(tmp_path / "m.tif", array, **options)
    with pytest.raises(DataError, match=rf"m\.tif (has|holds) {message}"):
        decode_mask(tmp_path / "m.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_images_of_sixteen_bits_are_refused(tmp_path, suffix):
    """Pillow keeps the upper eight: an image of 0..255, or of 12 bits, would be black."""
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint16)
    if suffix == ".tif":
        tifffile.imwrite(tmp_path / "i.tif", values, photometric="rgb")
    else:
        raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
        (tmp_path / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match="has 16 bits per channel.*scaled to 0..255"):
        decode_image(tmp_path / f"i{suffix}")


def test_colours_of_sixteen_bits_in_a_tiff_are_refused(tmp_path):
    """(0, 77, 0) would be read as black, and so as the code of black."""
    tifffile.imwrite(tmp_path / "m.tif", np.full((4, 5, 3), 77, np.uint16), photometric="rgb")
    with pytest.raises(DataError, match="not colour-coded in 8 bits"):
        decode_mask(tmp_path / "m.tif", COLOURS)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_what_is_marked_as_turned_is_refused(tmp_path, suffix):
    """Which way round a mask was drawn is not known; a square image would be read in silence."""
    picture, exif = Image.fromarray(np.zeros((8, 8, 3), np.uint8)), Image.Exif()
    for orientation in (0, 1, 3, 6, 8):
        exif[274] = orientation
        picture.save(tmp_path / f"i{suffix}", exif=exif)
        if orientation < 2:
            assert decode_image(tmp_path / f"i{suffix}").shape == (8, 8, 3)
            continue
        with pytest.raises(DataError, match=f"EXIF orientation {orientation}.*without that mark"):
            decode_image(tmp_path / f"i{suffix}")
        if suffix != ".jpg":
            with pytest.raises(DataError, match="without that mark"):
                decode_mask(tmp_path / f"i{suffix}", COLOURS)


def test_damaged_exif_is_no_obstacle(tmp_path):
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    picture.save(tmp_path / "i.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff")
    assert decode_image(tmp_path / "i.jpg").shape == (8, 8, 3)


def test_a_link_to_nothing_says_so(tmp_path):
    (tmp_path / "m.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"m\.png does not exist\. Put the image file"):
        decode_mask(tmp_path / "m.png")


def test_a_colour_drawn_and_transparent_is_two_things(tmp_path):
    """Black as a class, and black that lies unseen where nothing was annotated."""
    codes, rgb = coded()
    alpha = np.where(codes == 3, 0, 255).astype(np.uint8)  # all of one colour: as good as drawn
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "m.png")
    assert (decode_mask(tmp_path / "m.png", COLOURS) == codes).all()
    alpha[0, 0] = 255 - alpha[0, 0]
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="is drawn in some places and transparent in others"):
        decode_mask(tmp_path / "m.png", COLOURS)
