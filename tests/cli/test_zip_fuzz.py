"""``score`` and zips that are damaged or hostile: one sentence or the right result, in bounds.

A valid archive is damaged by seeded mutation. Whatever is accepted has the labels that the archive
without damage has: a check sum guards each entry, so that no flipped bit becomes a number.
"""

import io
import random
import resource
import struct
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from benchbcss.errors import BenchError, DataError
from benchbcss.runs.external import reading

ROIS = tuple(f"roi{i}.png" for i in range(3))
SHAPE = (40, 30)
MEMORY = 64 << 20  # bytes that reading a small archive may take at most
SECONDS = 20  # the machine may be busy


def labels(roi):
    return np.random.default_rng(ROIS.index(roi)).integers(0, 6, SHAPE, dtype=np.uint8)


def picture(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def archive(method=zipfile.ZIP_DEFLATED, names=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for roi in ROIS:
            file.writestr((names or {}).get(roi, roi), picture(labels(roi)))
    return buffer.getvalue()


def read(path):
    """{ROI: labels} as ``score`` reads them, {} where it refuses the archive; a ROI is left out
    where its own file is refused. Bounded in time and memory; other errors are raised."""
    begun = time.monotonic()
    tracemalloc.start()
    arrays, reasons = {}, ["none"]
    try:
        with reading.opened(path) as source:
            for roi, candidates in source.of(ROIS).items():
                if len(candidates) != 1:
                    continue
                try:
                    arrays[roi] = source.values(candidates[0], SHAPE, None)
                except DataError as error:
                    reasons.append(str(error))
    except BenchError as error:
        reasons.append(str(error))
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.monotonic() - begun < SECONDS
    assert most < MEMORY
    assert all(reasons)
    return arrays


def is_right(arrays):
    return all((array == labels(roi)).all() for roi, array in arrays.items())


@pytest.fixture
def rng(request):
    return random.Random(request.node.name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "p.zip"


def flipped(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def without_a_piece(data, rng):
    place = rng.randrange(len(data))
    return data[:place] + data[place + rng.randint(1, 60) :]


def wrong_directory(data, rng):
    """Nonsense in the central directory or its end."""
    start = data.index(b"PK\x01\x02")
    place = rng.randrange(start, len(data) - 4)
    width = rng.choice([1, 2, 4])
    value = rng.choice([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)])
    number = struct.pack("<I", value & 0xFFFFFFFF)[:width]
    return data[:place] + number + data[place + width :]


def twice(data, rng):
    return data + data[rng.randrange(len(data)) :]


DAMAGES = [flipped, cut, without_a_piece, wrong_directory, twice]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_or_harmless(path, rng, damage, method):
    good = archive(method)
    path.write_bytes(good)
    assert len(read(path)) == 3
    refused = 0
    for _ in range(40):
        path.write_bytes(damage(good, rng))
        arrays = read(path)
        refused += len(arrays) < 3
        assert is_right(arrays), path.read_bytes()
    assert refused  # or the damage was none


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "name",
    [
        *("../roi0.png", "/roi0.png", "/etc/roi0.png", "C:\\roi0.png", "..\\..\\roi0.png"),
        *("a/../../roi0.png", "\\\\server\\share\\roi0.png", "./roi0.png", "a\\b\\roi0.png"),
        *(
            "x" * 5_000 + "/roi0.png",
            "a/" * 1_000 + "roi0.png",
            "roi0.png\x00.exe",
            "\x1b[2J/roi0.png",
        ),
    ],
)
def test_nothing_is_written_by_a_name(path, tmp_path, name):
    path.write_bytes(archive(names={"roi0.png": name}))
    before = sorted(tmp_path.parent.rglob("*"))
    assert is_right(read(path))
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "other", ["roi0.png", "a/roi0.png", "ROI0.png", "roi0_pred.png", "roi0.npy"]
)
def test_of_two_none_is_chosen(path, other):
    with zipfile.ZipFile(path, "w") as file:
        for roi in ROIS:
            file.writestr(roi, picture(labels(roi)))
        file.writestr(other, picture(labels("roi1.png")))
    arrays = read(path)
    assert is_right(arrays)
    assert "roi0.png" not in arrays or other == "ROI0.png"


def patched(data, offset_local, offset_central, value):
    """The 16-bit field of the first entry, in its header and in the directory."""
    data = bytearray(data)
    field = struct.pack("<H", value)
    data[offset_local : offset_local + 2] = field
    start = data.index(b"PK\x01\x02") + offset_central
    data[start : start + 2] = field
    return bytes(data)


@pytest.mark.parametrize(
    ("local", "central", "value"),
    [(6, 8, 1), (6, 8, 0x41), (8, 10, 9), (8, 10, 97), (8, 10, 99)],
    ids=["encrypted", "strongly", "Deflate64", "WavPack", "AES"],
)
def test_what_cannot_be_read_is_refused_by_name(path, local, central, value):
    path.write_bytes(patched(archive(), local, central, value))
    arrays = read(path)
    assert sorted(arrays) == ["roi1.png", "roi2.png"]
    assert is_right(arrays)


def test_a_link_is_no_label_map(path):
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("roi0.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        for roi in ROIS[1:]:
            file.writestr(roi, picture(labels(roi)))
    assert sorted(read(path)) == ["roi1.png", "roi2.png"]


def bomb(size):
    """A zip of ``size`` zero bytes called roi0.png."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("roi0.png", "w", force_zip64=True) as entry,
    ):
        for _ in range(size >> 20):
            entry.write(bytes(1 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize("claimed", [None, 10, 0, 0xFFFFFFFE])
def test_a_bomb_takes_no_more_than_it_says_and_little(path, tmp_path, monkeypatch, claimed):
    data = bomb(200 << 20)
    if claimed is not None:  # its sizes are false
        data = bytearray(data)
        place = data.index(b"PK\x01\x02") + 24
        data[place : place + 4] = struct.pack("<I", claimed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path.write_bytes(bytes(data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(path) == {}
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < 4 * MEMORY


def test_overlapping_entries_are_bounded(path, monkeypatch):
    """Many names of one entry, as the densest bombs have."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("roi0.png", bytes(1 << 20))
        (entry,) = file.filelist
        for number in range(2_000):
            again = zipfile.ZipInfo(f"{number}/roi1.png")
            for name in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(again, name, getattr(entry, name))
            file.filelist.append(again)
    path.write_bytes(buffer.getvalue())
    assert read(path) == {}


def test_a_million_names_are_read_in_bounds(path):
    """A directory that is large, not damaged: 65 535 entries without content."""
    with zipfile.ZipFile(path, "w") as file:
        for number in range(20_000):
            file.writestr(f"{number}.txt", b"")
    assert read(path) == {}


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (40, 30), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (40, 30), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-40, 30), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (40, 30.0), }",
        b"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (40, 30), }",
        b"{'descr': '|u1', 'fortran_order': 7, 'shape': (40, 30), }",
        b"{'descr': " + b"[" * 3_000 + b"], }",
        b"__import__('os').system('true')",
        b"",
        b"{" * 9_000,
        b"\xff" * 100,
    ],
    ids=range(12),
)
def test_arrays_with_hostile_headers(path, header):
    """NumPy's own format, which is read by what its header says."""
    padded = header + b" " * (-len(header) % 64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + bytes(1200)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("roi0.npy", array)
    assert read(path) == {}


def test_arrays_as_bytes(path, rng):
    buffer = io.BytesIO()
    np.save(buffer, labels("roi0.png"))
    good = buffer.getvalue()
    for _ in range(150):
        data = rng.choice([flipped, cut, without_a_piece])(good, rng)
        data = data[:128] + zlib.compress(data[128:])[: rng.choice([0, 10])] + data[128:]
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("roi0.npy", data)
        for array in read(path).values():
            assert array.shape == SHAPE
            assert array.dtype in (np.uint8, np.uint16)
