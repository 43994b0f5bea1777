"""Kept embeddings: the same bits as computed ones, whatever happens to the folder."""

import errno
import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from benchbcss.errors import InputError
from benchbcss.inference import embeddings
from benchbcss.inference.embeddings import Embeddings, identity

ENCODER = "e" * 64


class Counted:
    """Two maps of an image; counts its calls and the images in them."""

    def __init__(self):
        self.calls = []

    def __call__(self, image):
        self.calls.append(len(image))
        return [image * 2, image.mean((2, 3), keepdim=True).half()]


def images(count=3, seed=0):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def entries(root):
    return sorted(root.glob("*/*.emb"))


def same(a, b):
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


@pytest.fixture
def cache(tmp_path):
    return Embeddings(tmp_path / "embeddings", limit=10**9)


def test_what_is_kept_is_what_was_computed(cache):
    compute, given = Counted(), images()
    first = cache.maps(ENCODER, given, compute)
    again = cache.maps(ENCODER, given[[2, 0, 1]], compute)
    assert compute.calls == [1, 1, 1]  # one at a time, and none twice
    assert same(again, [part[[2, 0, 1]] for part in first])
    assert same(first, Counted()(given))
    assert (cache.computed, cache.read) == (3, 3)


def test_another_process_reads_it_and_another_encoder_or_image_does_not(cache):
    cache.maps(ENCODER, images(), Counted())
    other, compute = Embeddings(cache.root, limit=10**9), Counted()
    other.maps(ENCODER, images(), compute)
    assert compute.calls == []
    other.maps("f" * 64, images(), compute)
    changed = images()
    changed[0, 0, 0, 0] += 1e-6
    other.maps(ENCODER, changed, compute)
    other.maps(ENCODER, images().reshape(3, 3, 4, 16), compute)
    assert len(compute.calls) == 3 + 1 + 3


@pytest.mark.parametrize("damage", ["torn", "altered", "empty", "swapped"])
def test_a_damaged_entry_is_made_anew(cache, damage):
    first = cache.maps(ENCODER, images(), Counted())
    path, other = entries(cache.root)[:2]
    content = path.read_bytes()
    flipped = bytes([content[-1] ^ 1])
    worse = {
        "torn": content[: len(content) // 2],
        "altered": content[:-1] + flipped,
        "empty": b"",
        "swapped": hashlib.sha256(b"").digest() + content[32:],
    }
    path.write_bytes(worse[damage])
    compute = Counted()
    assert same(cache.maps(ENCODER, images(), compute), first)
    assert compute.calls == [1]
    assert path.read_bytes() == content
    assert other.exists()


def test_it_can_be_deleted_at_any_time(cache):
    first = cache.maps(ENCODER, images(), Counted())
    shutil.rmtree(cache.root)
    assert same(cache.maps(ENCODER, images(), Counted()), first)
    assert len(entries(cache.root)) == 3


def test_a_pipe_in_an_entrys_place_is_not_waited_for(cache):
    cache.maps(ENCODER, images(1), Counted())
    (path,) = entries(cache.root)
    path.unlink()
    os.mkfifo(path)
    compute = Counted()
    cache.maps(ENCODER, images(1), compute)
    assert compute.calls == [1]


def test_entries_that_were_used_longest_ago_make_room(cache):
    cache.maps(ENCODER, images(4), Counted())
    size = entries(cache.root)[0].stat().st_size
    for age, path in enumerate(entries(cache.root)):
        os.utime(path, (1000 + age, 1000 + age))
    oldest, *rest = entries(cache.root)
    small = Embeddings(cache.root, limit=5 * size)
    small.maps(ENCODER, images(2, seed=1), Counted())
    left = entries(cache.root)
    assert sum(path.stat().st_size for path in left) <= small.limit
    assert oldest not in left
    assert rest[-1] in left


def test_what_this_process_used_stays_and_nothing_more_is_kept(tmp_path):
    probe = Embeddings(tmp_path / "probe", limit=10**9)
    probe.maps(ENCODER, images(1), Counted())
    size = entries(probe.root)[0].stat().st_size
    cache = Embeddings(tmp_path / "full", limit=2 * size)
    for _ in range(3):  # as epochs do
        compute = Counted()
        cache.maps(ENCODER, images(3), compute)
    assert len(entries(cache.root)) == 2
    assert compute.calls == [1]
    tiny = Embeddings(tmp_path / "tiny", limit=size - 1)
    tiny.maps(ENCODER, images(1), Counted())
    assert entries(tiny.root) == []


def test_two_runs_at_once_stay_below_the_limit(tmp_path):
    """Neither knows what the other adds before it measures the folder again."""
    probe = Embeddings(tmp_path / "probe", limit=10**9)
    probe.maps(ENCODER, images(1), Counted())
    size = entries(probe.root)[0].stat().st_size
    one, other = (Embeddings(tmp_path / "shared", limit=40 * size) for _ in range(2))
    for seed in range(40):
        one.maps(ENCODER, images(1, seed), Counted())
        other.maps(ENCODER, images(1, 1000 + seed), Counted())
    kept = sum(path.stat().st_size for path in entries(one.root))
    assert 0.9 * one.limit < kept <= 1.05 * one.limit


def test_deleted_again_and_again_while_runs_use_it(tmp_path, capsys):
    """Small limits, so that they also measure the folder and make room in it all the time."""
    expected = Counted()(images(6))
    caches = [Embeddings(tmp_path / "shared", limit=6000) for _ in range(3)]
    ended = threading.Event()

    def delete():
        while not ended.is_set():
            shutil.rmtree(tmp_path / "shared", ignore_errors=True)

    with ThreadPoolExecutor(4) as pool:
        deleting = pool.submit(delete)
        try:
            work = [
                pool.submit(lambda cache: [cache.maps(ENCODER, images(6), Counted())], cache)
                for cache in caches * 20
            ]
            made = [maps for one in work for maps in one.result()]
        finally:
            ended.set()
        deleting.result()
    assert all(same(maps, expected) for maps in made)
    assert capsys.readouterr().out == ""
    assert [cache.limit for cache in caches] == [6000] * 3


def test_a_folder_that_goes_while_it_is_made_is_no_error(cache, monkeypatch, capsys):
    """``mkdir`` looks again where a folder exists, and says so where it is gone by then."""

    def gone(*_, **__):
        raise FileExistsError(errno.EEXIST, "File exists")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", gone)
        cache.maps(ENCODER, images(1), Counted())
    assert capsys.readouterr().out == ""
    cache.maps(ENCODER, images(1), Counted())
    assert len(entries(cache.root)) == 1


def test_a_file_in_the_folders_place_is_said_once(cache, capsys):
    cache.root.parent.mkdir(parents=True, exist_ok=True)
    cache.root.write_text("a note", encoding="utf-8")
    for _ in range(2):
        cache.maps(ENCODER, images(2), Counted())
    assert capsys.readouterr().out.count("warning") == 1
    assert cache.root.read_text(encoding="utf-8") == "a note"


def test_entries_that_may_not_be_removed_cost_no_run(cache, monkeypatch):
    """As in a folder that users share."""
    cache.maps(ENCODER, images(4), Counted())
    size = entries(cache.root)[0].stat().st_size
    for path in entries(cache.root):
        os.utime(path, (1000, 1000))

    def refused(self, missing_ok=False):
        raise PermissionError(1, "Operation not permitted")

    full, given = Embeddings(cache.root, limit=4 * size), images(2, seed=1)
    monkeypatch.setattr(embeddings.Path, "unlink", refused)
    assert same(full.maps(ENCODER, given, Counted()), Counted()(given))
    assert len(entries(cache.root)) == 4


def test_none_are_kept_where_the_limit_is_nothing(tmp_path):
    cache, compute = Embeddings(tmp_path / "none", limit=0), Counted()
    first = cache.maps(ENCODER, images(), compute)
    assert same(cache.maps(ENCODER, images(), compute), first)
    assert compute.calls == [1] * 6
    assert not cache.root.exists()


def test_a_full_disk_costs_no_run(cache, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embeddings.os, "replace", full)
    compute = Counted()
    assert same(cache.maps(ENCODER, images(), compute), Counted()(images()))
    assert len(compute.calls) == 3
    assert capsys.readouterr().out.count("No space left on device; no more embeddings") == 1
    assert list(cache.root.rglob("*.tmp")) == []


def test_many_at_once(cache):
    expected = Counted()(images(8))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: cache.maps(ENCODER, images(8), Counted()), range(8)))
    assert all(same(one, expected) for one in made)
    assert len(entries(cache.root)) == 8


def test_the_limit_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("BENCHBCSS_EMBEDDINGS", "0.5")
    assert embeddings.limit_bytes() == 500_000_000
    monkeypatch.delenv("BENCHBCSS_EMBEDDINGS")
    assert embeddings.limit_bytes() == 20_000_000_000
    for odd in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("BENCHBCSS_EMBEDDINGS", odd)
        with pytest.raises(InputError, match="is not a number of gigabytes"):
            embeddings.limit_bytes()


def test_an_encoder_is_its_settings_its_weights_and_its_precision():
    torch.manual_seed(0)
    net, device = torch.nn.Linear(4, 4), torch.device("cpu")
    known = {identity({"name": "a"}, net, device)}
    assert identity({"name": "a"}, net, device) in known
    known.add(identity({"name": "b"}, net, device))
    with torch.autocast("cpu", torch.bfloat16):
        known.add(identity({"name": "a"}, net, device))
    with torch.no_grad():
        net.bias[0] += 1e-6
    known.add(identity({"name": "a"}, net, device))
    assert len(known) == 4
