"""What is remembered is what would be worked out anew, or it is not remembered."""

import os
import sys

import pytest

from benchbcss import memo
from benchbcss.memo import Memo


class Reads:
    """Counts how often a file's checksum is worked out."""

    def __init__(self, monkeypatch):
        self.count, self._real = 0, memo.sha256
        monkeypatch.setattr(memo, "sha256", self)

    def __call__(self, path):
        self.count += 1
        return self._real(path)


@pytest.fixture
def reads(monkeypatch):
    monkeypatch.setattr(memo, "_RACE", -1.0)  # as if every file had been left alone for a while
    monkeypatch.setattr(memo, "LARGE", 100)
    return Reads(monkeypatch)


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "final.safetensors"
    path.write_bytes(bytes(1000))
    return path


def test_an_answer_is_worked_out_once_and_outlives_the_process(tmp_path):
    kept = Memo(tmp_path / "memo")
    assert kept.answer("a", lambda: [(1, 2)]) == [[1, 2]]
    assert kept.answer("a", lambda: 1 / 0) == [[1, 2]]
    assert Memo(tmp_path / "memo").answer("a", lambda: 1 / 0) == [[1, 2]]
    assert Memo(tmp_path / "memo").answer("b", lambda: 3) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.replace(b"41", b"42"),
        lambda raw: raw[:-3],
        lambda raw: b"",
        lambda raw: b"0" * 64 + b"\n" + raw.partition(b"\n")[2],
        lambda raw: b"\xff" + raw,
    ],
)
def test_a_damaged_memo_knows_nothing(tmp_path, damage):
    path = tmp_path / "memo"
    Memo(path).answer("a", lambda: 41)
    path.write_bytes(damage(path.read_bytes()))
    assert Memo(path).answer("a", lambda: 7) == 7


def test_what_cannot_be_kept_is_answered_all_the_same(tmp_path):
    (tmp_path / "memo").mkdir()
    assert Memo(tmp_path / "memo").answer("a", lambda: 7) == 7
    assert Memo(tmp_path / "no" / "memo").answer("a", lambda: 7) == 7


def test_it_does_not_grow_without_end(tmp_path):
    kept = Memo(tmp_path / "memo")
    for number in range(memo.MOST + 5):
        kept.answer(str(number), lambda number=number: number)
    again = Memo(tmp_path / "memo")
    assert again.answer("5", lambda: "lost") == 5
    assert again.answer("4", lambda: "lost") == "lost"


def test_a_large_file_is_read_once(tmp_path, large, reads):
    first = Memo(tmp_path / "memo").sha256(large)
    assert Memo(tmp_path / "memo").sha256(large) == first
    assert reads.count == 1


def test_a_small_file_is_always_read(tmp_path, large, reads):
    large.write_bytes(b"short")
    for _ in range(2):
        Memo(tmp_path / "memo").sha256(large)
    assert reads.count == 2


def _flipped(path):
    raw = bytearray(path.read_bytes())
    raw[500] ^= 1
    path.write_bytes(raw)


def _flipped_in_place(path):
    with open(path, "r+b") as handle:
        handle.seek(500)
        handle.write(b"x")


def _another(path):
    other = path.with_name("other")
    other.write_bytes(b"x" * 1000)
    os.replace(other, path)


@pytest.mark.parametrize("change", [_flipped, _flipped_in_place, _another])
def test_a_change_is_noticed_though_size_and_time_of_modification_are_as_before(
    tmp_path, large, reads, change
):
    before, stat = Memo(tmp_path / "memo").sha256(large), large.stat()
    change(large)
    os.utime(large, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert large.stat().st_mtime_ns == stat.st_mtime_ns
    assert Memo(tmp_path / "memo").sha256(large) != before


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, large, monkeypatch):
    """Another change within the clock's grain would leave its times as they are."""
    monkeypatch.setattr(memo, "LARGE", 100)
    counted = Reads(monkeypatch)
    for _ in range(2):
        Memo(tmp_path / "memo").sha256(large)
    assert counted.count == 2
    assert not (tmp_path / "memo").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no inodes")
def test_a_copy_is_read_for_itself(tmp_path, large, reads):
    Memo(tmp_path / "memo").sha256(large)
    copy = tmp_path / "copy" / large.name
    copy.parent.mkdir()
    copy.write_bytes(large.read_bytes())
    Memo(tmp_path / "memo").sha256(copy)
    assert reads.count == 2
