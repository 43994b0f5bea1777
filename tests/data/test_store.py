import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from benchbcss import temporary
from benchbcss.data.images import decode_image, decode_mask
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError, DataError
from benchbcss.io import sha256


def mask_file(path, shape=(30, 20)):
    mask = np.random.default_rng(0).integers(0, 22, shape, dtype=np.uint8)
    Image.fromarray(mask).save(path)
    return mask


def test_a_file_is_decoded_once_and_mapped(tmp_path):
    mask = mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    entry = store.entry(tmp_path / "m.png", "mask")
    mapped = entry.open()
    assert isinstance(mapped, np.memmap)
    assert (mapped == mask).all()
    assert entry.codes == {c: int((mask == c).sum()) for c in np.unique(mask)}
    stamp = entry.array.stat().st_mtime_ns
    assert TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask") == entry
    assert entry.array.stat().st_mtime_ns == stamp
    assert store.size() > mask.size


def test_a_changed_file_is_a_new_entry(tmp_path):
    mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    first = store.entry(tmp_path / "m.png", "mask")
    mask_file(tmp_path / "m.png", (31, 20))
    second = store.entry(tmp_path / "m.png", "mask")
    assert second.sha256 != first.sha256
    assert second.shape == (31, 20)


def test_it_can_be_deleted_at_any_time(tmp_path):
    mask = mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    store.entry(tmp_path / "m.png", "mask")
    shutil.rmtree(tmp_path / "store")
    assert (store.entry(tmp_path / "m.png", "mask").open() == mask).all()


def _open(arguments):
    root, path = arguments
    return TileStore(root).entry(path, "mask").sha256


def test_processes_share_one_store(tmp_path):
    mask_file(tmp_path / "m.png", (600, 600))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        digests = pool.map(_open, [(tmp_path / "store", tmp_path / "m.png")] * 6)
    assert len(set(digests)) == 1
    assert len(list((tmp_path / "store").glob("*.npy"))) == 1


def test_a_truncated_png_names_the_file(tmp_path):
    mask_file(tmp_path / "m.png", (300, 300))
    data = (tmp_path / "m.png").read_bytes()
    (tmp_path / "m.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"m\.png cannot be decoded .* truncated"):
        decode_mask(tmp_path / "m.png")


def test_modes_are_checked(tmp_path):
    mask_file(tmp_path / "m.png")
    with pytest.raises(DataError, match="not an RGB image: its mode is L"):
        decode_image(tmp_path / "m.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "i.png")
    with pytest.raises(DataError, match="not a mask"):
        decode_mask(tmp_path / "i.png")


def test_palette_masks_keep_their_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [18, 2]], np.uint8)).convert("P")
    image.putpalette([7] * 768)
    image.save(tmp_path / "p.png")
    raw = np.asarray(Image.open(tmp_path / "p.png"))
    assert (decode_mask(tmp_path / "p.png") == raw).all()


def test_alpha_is_dropped(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert (decode_image(tmp_path / "a.png") == rgba[..., :3]).all()


def test_larger_than_pillows_limit_is_read(tmp_path, monkeypatch):
    mask = mask_file(tmp_path / "m.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert (decode_mask(tmp_path / "m.png") == mask).all()
    assert Image.MAX_IMAGE_PIXELS == 10


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    mask_file(tmp_path / "m.png")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    monkeypatch.undo()
    assert TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask").shape == (30, 20)


def test_crops_are_a_thousand_times_faster_than_decoding(tmp_path):
    """A 4096 x 3200 ROI, as large as BCSS's median."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 40, (3200, 4096, 3), dtype=np.uint8)
    ramp = (np.mgrid[0:3200, 0:4096].sum(0) // 40 % 200).astype(np.uint8)
    Image.fromarray(noise + ramp[..., None]).save(tmp_path / "i.png", compress_level=6)
    mapped = TileStore(tmp_path / "store").entry(tmp_path / "i.png", "image").open()
    begun = time.perf_counter()
    decode_image(tmp_path / "i.png")
    decoding = time.perf_counter() - begun
    places = [(int(rng.integers(3200 - 512)), int(rng.integers(4096 - 512))) for _ in range(300)]
    times = []
    for top, left in places:
        begun = time.perf_counter()
        np.array(mapped[top : top + 512, left : left + 512])
        times.append(time.perf_counter() - begun)
    assert decoding / np.median(times) > 1000


def test_what_an_older_decoder_left_is_decoded_again(tmp_path):
    import json

    mask = mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    entry = store.entry(tmp_path / "m.png", "mask")
    (described,) = (tmp_path / "store").glob("*.json")
    meta = json.loads(described.read_text())
    del meta["decoder"]  # as the first edition wrote it
    described.write_text(json.dumps(meta))
    np.save(entry.array, mask * 17)
    assert (store.entry(tmp_path / "m.png", "mask").open() == mask).all()


def test_one_file_read_in_two_ways_is_two_entries(tmp_path):
    mask = mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    wide = store.entry(tmp_path / "m.png", "mask", lambda: mask.astype(np.uint16) + 300, "by 300")
    plain = store.entry(tmp_path / "m.png", "mask")
    assert wide.sha256 == plain.sha256
    assert min(wide.codes) >= 300 > max(plain.codes)
    assert wide.open().dtype == np.uint16


def _flipped(path):
    data = path.read_bytes()
    place = len(data) // 2
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


DAMAGE = {
    "flipped": _flipped,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("ending", ["npy", "json", "sha256"])
def test_a_damaged_entry_is_decoded_again(tmp_path, kind, ending):
    mask = mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    first = store.entry(tmp_path / "m.png", "mask")
    (damaged,) = (tmp_path / "store").glob(f"*.{ending}")
    DAMAGE[kind](damaged)
    again = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    assert again == first
    assert (again.open() == mask).all()


def test_a_description_with_another_number_is_not_believed(tmp_path):
    mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    first = store.entry(tmp_path / "m.png", "mask")
    path = first.array.with_suffix(".json")
    meta = json.loads(path.read_text())
    meta["codes"] = {"1": 600}
    path.write_text(json.dumps(meta))
    assert store.entry(tmp_path / "m.png", "mask") == first


def test_a_copied_store_is_not_decoded_again(tmp_path):
    """Copying changes times, not content."""
    mask_file(tmp_path / "m.png")
    first = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    shutil.copytree(tmp_path / "store", tmp_path / "copy", copy_function=shutil.copyfile)

    def decode():
        raise AssertionError("decoded again")

    again = TileStore(tmp_path / "copy").entry(tmp_path / "m.png", "mask", decode)
    assert again.codes == first.codes


def _without_the_source(path):
    path.unlink()
    return r"m\.png cannot be read: .*Put the file there again"


def _with_another_source(path):
    mask_file(path, (30, 21))
    return r"m\.png has changed since it was looked at.*Run again"


@pytest.mark.parametrize("kind", DAMAGE)
class TestDamageAfterAnEntryWasLookedUp:
    """A run looks all entries up when it begins, and reads them hours later."""

    @pytest.fixture
    def entry(self, tmp_path):
        mask_file(tmp_path / "m.png")
        return TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")

    def test_it_is_decoded_again(self, tmp_path, entry, kind, capsys):
        wanted = decode_mask(tmp_path / "m.png")
        DAMAGE[kind](entry.array)
        assert (entry.open() == wanted).all()
        assert "m.png is decoded again" in capsys.readouterr().err
        again = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
        assert again == entry
        assert (again.open() == wanted).all()
        assert not capsys.readouterr().err

    @pytest.mark.parametrize("harm", [_without_the_source, _with_another_source])
    def test_what_cannot_be_decoded_again_is_named(self, tmp_path, entry, kind, harm):
        DAMAGE[kind](entry.array)
        with pytest.raises(DataError, match=harm(tmp_path / "m.png")):
            entry.open()


def test_a_flipped_byte_is_seen_though_size_and_time_are_as_they_were(tmp_path):
    """As a disk loses one; and before anything is read from the array."""
    mask = mask_file(tmp_path / "m.png")
    first = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    stat = first.array.stat()
    content = first.array.read_bytes()
    first.array.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(first.array, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (np.load(first.array) != mask).sum() == 1
    entry = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    assert (entry.open() == mask).all()
    assert first.array.read_bytes() == content


def test_an_array_is_verified_once_by_each_process(tmp_path, monkeypatch):
    mask_file(tmp_path / "m.png")
    TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    hashed = []

    def counting(path):
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr("benchbcss.data.store.sha256", counting)
    store = TileStore(tmp_path / "store")
    entry = store.entry(tmp_path / "m.png", "mask")
    assert not hashed  # planning looks at all entries and reads few
    for _ in range(3):
        entry.open()
        store.entry(tmp_path / "m.png", "mask").open()
    assert hashed == [entry.array]


def test_verifying_takes_a_fraction_of_decoding(tmp_path):
    """A 1024 x 800 ROI with the noise of a scanner."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 40, (800, 1024, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "i.png", compress_level=6)
    TileStore(tmp_path / "store").entry(tmp_path / "i.png", "image")
    decoding, verifying = [], []
    for _ in range(3):
        begun = time.process_time()
        decode_image(tmp_path / "i.png")
        decoding.append(time.process_time() - begun)
        entry = TileStore(tmp_path / "store").entry(tmp_path / "i.png", "image")
        begun = time.process_time()
        entry.open()
        verifying.append(time.process_time() - begun)
    assert min(verifying) < min(decoding) / 2


def temporary_of_a_dead_process(path):
    """As ``beside`` names one, by a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    name = temporary.beside(path).name.replace(f".{os.getpid()}.", f".{ended.pid}.")
    return path.with_name(name)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    entry = store.entry(tmp_path / "m.png", "mask")
    left = temporary_of_a_dead_process(entry.array)
    left.write_bytes(b"half")
    entry.array.unlink()
    store.entry(tmp_path / "m.png", "mask")
    assert not left.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_named_like_an_image_is_refused_at_once(tmp_path, make):
    make(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png is no regular file"):
        TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("ending", ["npy", "json", "sha256"])
def test_damage_without_the_source_names_the_source(tmp_path, kind, ending):
    """And its remedy works: what is damaged is decoded again."""
    mask = mask_file(tmp_path / "m.png")
    first = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    (damaged,) = (tmp_path / "store").glob(f"*.{ending}")
    DAMAGE[kind](damaged)
    (tmp_path / "m.png").rename(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"m\.png cannot be read: .*Put the file there again"):
        TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    (tmp_path / "gone.png").rename(tmp_path / "m.png")
    again = TileStore(tmp_path / "store").entry(tmp_path / "m.png", "mask")
    assert again == first
    assert (again.open() == mask).all()


@pytest.mark.parametrize("kind", [*DAMAGE, "a folder"])
def test_a_damaged_lock_is_no_obstacle(tmp_path, kind):
    mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    first = store.entry(tmp_path / "m.png", "mask")
    first.array.unlink()
    (lock,) = (tmp_path / "store").glob("*.lock")
    lock.write_bytes(b"anything")
    if kind == "a folder":
        lock.unlink()
        lock.mkdir()
        with pytest.raises(BenchError, match=r"\.lock cannot be locked: .*move it"):
            store.entry(tmp_path / "m.png", "mask")
        return
    DAMAGE[kind](lock)
    assert store.entry(tmp_path / "m.png", "mask") == first


@pytest.mark.parametrize("ending", ["npy", "json", "sha256"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_something_else_in_the_place_of_an_entry(tmp_path, ending, make):
    """A pipe is replaced; a folder, which may hold anything, is named."""
    mask_file(tmp_path / "m.png")
    store = TileStore(tmp_path / "store")
    first = store.entry(tmp_path / "m.png", "mask")
    (path,) = (tmp_path / "store").glob(f"*.{ending}")
    path.unlink()
    make(path)
    if make is os.mkdir:
        with pytest.raises(BenchError, match="cannot be written"):
            store.entry(tmp_path / "m.png", "mask")
    else:
        assert store.entry(tmp_path / "m.png", "mask") == first
