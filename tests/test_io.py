"""Files are whole, listed with their checksums, and known to be damaged when they are."""

import errno
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchbcss import io
from benchbcss.errors import DataError, RunError


@pytest.fixture
def listed(tmp_path):
    io.begin_list(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    io.write_bytes(tmp_path / "deep" / "er" / "a b.bin", b"content")
    return tmp_path


def test_what_is_written_below_is_listed_as_sha256sum_lists_it(listed):
    assert io.listed(listed) == ["deep/er/a b.bin"]
    done = subprocess.run(["sha256sum", "-c", io.SUMS], cwd=listed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert io.check(listed / "deep" / "er" / "a b.bin") == "ok"


@pytest.mark.parametrize("content", [b"", b"conten", b"c0ntent", b"content and more"])
def test_a_changed_file_is_altered(listed, content):
    path = listed / "deep" / "er" / "a b.bin"
    path.write_bytes(content)
    assert io.check(path) == "altered"
    assert not io.trusted(path)
    with pytest.raises(DataError, match=r"a b\.bin is damaged.*Do this"):
        io.verify(path, "Do this.")


def test_missing_and_unlisted_files(listed, tmp_path_factory):
    (listed / "stranger").write_bytes(b"x")
    assert io.check(listed / "stranger") == "unlisted"
    assert not io.trusted(listed / "stranger")
    assert io.check(listed / "nothing") == "missing"
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    elsewhere.write_bytes(b"x")
    assert io.trusted(elsewhere)  # nothing lists it: there is nothing to go by


def test_a_kill_before_the_rename_leaves_the_old_file_valid(listed, monkeypatch):
    """The new line is there, the new file is not."""
    path = listed / "deep" / "er" / "a b.bin"

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        io.write_bytes(path, b"newer")
    assert io.check(path) == "ok"
    assert path.read_bytes() == b"content"


def test_a_torn_line_costs_its_own_file_only(listed):
    path = listed / io.SUMS
    io.write_bytes(listed / "last", b"1")
    path.write_bytes(path.read_bytes()[:-5])
    io.write_bytes(listed / "next", b"2")
    assert io.check(listed / "next") == io.check(listed / "deep" / "er" / "a b.bin") == "ok"
    assert io.check(listed / "last") == "unlisted"


def test_beginning_again_forgets_what_is_gone_and_removes_leftovers(listed):
    io.write_bytes(listed / "gone", b"1")
    (listed / "gone").unlink()
    (listed / "deep" / ".0123456789abcdef.77.tmp").write_bytes(b"half")
    for number in range(3):
        io.write_bytes(listed / "often", b"%d" % number)
    io.begin_list(listed)
    assert io.listed(listed) == ["deep/er/a b.bin", "often"]
    assert len((listed / io.SUMS).read_text().splitlines()) == 2
    assert not list(listed.rglob("*.tmp"))


def test_a_moved_file_is_known_by_its_new_name(listed):
    digest = io.write_bytes(listed / "old", b"1")
    io.move(listed / "old", listed / "new", digest)
    assert io.check(listed / "new") == "ok"
    assert io.check(listed / "old") == "missing"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    io.write_bytes(tmp_path / ("x" * 255), b"1")
    with pytest.raises(RunError, match="shorter names"):
        io.write_bytes(tmp_path / ("x" * 256), b"1")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "Free space"), (errno.EROFS, "another --workspace"), (errno.EIO, "its disk")],
)
def test_the_advice_fits_the_fault(tmp_path, monkeypatch, number, advice):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(RunError, match=advice):
        io.write_bytes(tmp_path / "a", b"1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_the_place_of_a_file(tmp_path, make):
    path = tmp_path / "a"
    make(path)
    with pytest.raises(OSError, match="no regular file"):
        io.read_bytes(path)
    with pytest.raises(DataError, match="no regular file"):
        io.read_table(path)
    make(tmp_path / "files.sha256")
    assert io.check(path) == "missing"


def test_a_table_is_as_arrow_makes_it_of_arrays(tmp_path):
    rng = np.random.default_rng(0)
    numbers = {
        "int64": rng.integers(-9, 9, 50),
        "uint8": rng.integers(0, 255, 50, dtype=np.uint8),
        "double": np.where(rng.random(50) < 0.3, np.nan, rng.random(50)),
        "float": rng.random(50).astype(np.float32),
        "bool": rng.random(50) < 0.5,
        "strided": np.arange(100)[::2],
    }
    names = ("", "TCGA-A1", "µm²", 'x"y\n')
    codes = rng.integers(0, 4, 50)
    io.write_table(tmp_path / "t.parquet", {**numbers, "name": io.Coded(codes, names)})
    table = pq.read_table(tmp_path / "t.parquet")
    coded = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names))
    expected = pa.table({**{k: pa.array(v) for k, v in numbers.items()}, "name": coded})
    assert table.schema == expected.schema
    assert all(column.null_count == 0 for column in table.columns)
    for name, column in io.read_table(tmp_path / "t.parquet").items():
        wanted = [names[code] for code in codes] if name == "name" else numbers[name]
        np.testing.assert_array_equal(column, wanted)


def test_writing_a_table_imports_no_pandas(tmp_path):
    program = (
        "import sys, numpy as np; from pathlib import Path; from benchbcss import io\n"
        "coded = io.Coded(np.zeros(2, int), ['a'])\n"
        "io.write_table(Path('t.parquet'), {'n': np.arange(2), 'name': coded})\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_a_column_that_is_not_there_is_named(tmp_path):
    io.write_table(tmp_path / "t.parquet", {"n": np.arange(3)})
    table = io.read_table(tmp_path / "t.parquet")
    assert "roi" not in table
    with pytest.raises(DataError, match=r"t\.parquet has no column 'roi'\. Run: "):
        table["roi"]


def test_a_name_that_is_no_utf8_comes_back_from_json(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xff \xc3\xa9")
    io.write_json(tmp_path / "x.json", {"path": name, "text": "µm"})
    raw = (tmp_path / "x.json").read_bytes()
    assert "µm".encode() in raw
    raw.decode("utf-8")
    assert io.read_json(tmp_path / "x.json") == {"path": name, "text": "µm"}
