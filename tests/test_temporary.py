"""What a killed process left is removed; what a living one writes, or a stranger, is not."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchbcss import temporary
from benchbcss.io import write_bytes


@pytest.fixture(scope="module")
def dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def of(process, path, machine=None):
    name = temporary.beside(path).name.replace(f".{os.getpid()}-", f".{process}-")
    return path.with_name(name.replace(temporary._machine(), machine or temporary._machine()))


@pytest.mark.parametrize(
    "make", [lambda p: p.write_bytes(b"half"), lambda p: (p / "in").mkdir(parents=True)]
)
def test_of_a_dead_process(tmp_path, dead, make):
    make(of(dead, tmp_path / "a.json"))
    temporary.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_a_living_process(tmp_path):
    path = temporary.beside(tmp_path / "a.json")
    path.write_bytes(b"half")
    temporary.sweep(tmp_path)
    assert path.exists()
    write_bytes(tmp_path / "a.json", b"whole")
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_threads_write_the_same_file_at_once(tmp_path):
    """Of eight that have all begun, none renames what another is still writing."""
    begun = threading.Barrier(8)

    def write(content):
        path = temporary.beside(tmp_path / "a.json")
        with open(path, "wb") as handle:
            handle.write(content)
            begun.wait(timeout=60)
        os.replace(path, tmp_path / "a.json")
        return path

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(write, [bytes([digit]) * 99 for digit in range(8)]))) == 8
    assert len(set((tmp_path / "a.json").read_bytes())) == 1


@pytest.mark.parametrize("name", ["of another machine", "of an older edition"])
def test_what_cannot_be_asked_for_is_kept_for_a_day(tmp_path, dead, name):
    path = of(dead, tmp_path / "a.json", "0" * 8)
    if name == "of an older edition":
        path = tmp_path / f".{'a' * 16}.{dead}.tmp"
    path.write_bytes(b"half")
    temporary.sweep(tmp_path)
    assert path.exists()
    old = time.time() - 25 * 3600
    os.utime(path, (old, old))
    temporary.sweep(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["mine.tmp", ".mine.tmp", "a.0123abcd.1.tmp", ".a.xyz.tmp", "x"])
def test_of_a_stranger(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    os.utime(tmp_path / name, (0, 0))
    temporary.sweep(tmp_path)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_where_nothing_can_be_read(tmp_path):
    temporary.sweep(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    temporary.sweep(tmp_path / "file")
