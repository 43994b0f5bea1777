import csv
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.phantom import SHARES, TEST_SITES, TUMOR, generate
from benchbcss.data.splits import load_split
from benchbcss.data.store import TileStore


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standard") / "phantom"
    generate(folder)
    return folder


def test_class_shares_are_the_briefs(standard):
    codes = np.concatenate(
        [np.asarray(Image.open(path)).reshape(-1) for path in (standard / "masks").iterdir()]
    )
    share = np.bincount(codes, minlength=22) / len(codes)
    for code, expected in {1: 0.27, 2: 0.235, 3: 0.07, 4: 0.078, 18: 0.017}.items():
        assert abs(share[code] / expected - 1) < 0.2, f"code {code}: {share[code]:.4f}"
    assert 0.2 < share[0] < 0.3
    assert SHARES[TUMOR] == 0.27


def test_it_is_a_bcss_folder_with_every_class_in_every_part(standard, tmp_path):
    source = Dataset(standard, TileStore(tmp_path / "store"))
    labels = label_map("bcss5", source.code_table())
    rois = source.rois(source.names, labels)
    split = load_split(str(standard / "splits.csv"), source.names)
    assert [len(split.part(part)) for part in ("train", "val", "test")] == [14, 4, 6]
    assert {rois[name].institute for name in split.test} == set(TEST_SITES)
    assert not split.leakage().errors
    for part in ("train", "val", "test"):
        pixels = sum(rois[name].class_pixels(labels) for name in split.part(part))
        assert (pixels > 0).all(), part


def test_vessels_are_small_rings(standard):
    from scipy import ndimage

    sizes = []
    for path in (standard / "masks").iterdir():
        parts, count = ndimage.label(np.asarray(Image.open(path)) == 18)
        sizes += np.bincount(parts.reshape(-1))[1 : count + 1].tolist()
    assert len(sizes) > 100
    assert np.median(np.sqrt(np.array(sizes) / np.pi)) < 15  # px


def test_institutes_differ_in_stain(standard):
    with open(standard / "splits.csv", newline="") as handle:
        names = [row["filename"] for row in csv.DictReader(handle)]
    means = {}
    for name in names:
        image = np.asarray(Image.open(standard / "images" / name)).reshape(-1, 3)
        means.setdefault(name[5:7], []).append(image.mean(0))
    between = np.stack([np.mean(v, 0) for v in means.values()]).std(0)
    assert (between > 3).all()


def test_same_parameters_same_bytes(tmp_path):
    for name, workers in (("a", 1), ("b", 4)):
        generate(tmp_path / name, rois=6, size=96, seed=5, workers=workers)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    generate(tmp_path / "c", rois=6, size=96, seed=6)
    assert bytes_of(tmp_path / "a")["splits.csv"] != bytes_of(tmp_path / "c")["splits.csv"]


def test_it_is_kept_completed_and_never_overwritten(tmp_path):
    target = tmp_path / "p"
    generate(target, rois=6, size=64)
    whole = bytes_of(target)
    generate(target, rois=6, size=64)  # returns at once
    assert bytes_of(target) == whole
    with pytest.raises(ValueError, match="other parameters"):
        generate(target, rois=7, size=64)
    (target / "phantom.json").unlink()  # torn: killed before the end
    (target / ".phantom").write_text("unfinished\n")
    generate(target, rois=6, size=64)
    assert bytes_of(target) == whole
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        generate(tmp_path / "mine", rois=6, size=64)


@pytest.mark.parametrize("bad", [{"rois": 5}, {"size": 32}, {"seed": -1}])
def test_impossible_parameters(tmp_path, bad):
    with pytest.raises(ValueError, match="a phantom has 6 to 10000 ROIs"):
        generate(tmp_path / "p", **bad)


def test_it_is_labelled(standard):
    assert "not BCSS" in json.loads((standard / "phantom.json").read_text())["note"]


def test_large_rois_are_drawn_one_after_the_other(tmp_path, monkeypatch):
    """Memory is bounded by the ROIs that are drawn at a time, not by how many there are."""
    import threading

    from benchbcss.data.phantom import writer

    lock, drawn, most = threading.Lock(), [0], [0]
    draw = writer._draw

    def counted(plan):
        with lock:
            drawn[0] += 1
            most[0] = max(most[0], drawn[0])
        try:
            return draw(plan)
        finally:
            with lock:
                drawn[0] -= 1

    monkeypatch.setattr(writer, "_draw", counted)
    monkeypatch.setattr(writer, "_AT_ONCE", 64 * 64)
    generate(tmp_path / "p", rois=6, size=64)
    assert most[0] == 1


def test_strips_draw_what_one_piece_would():
    from benchbcss.data.phantom.canvas import Canvas

    canvas = Canvas(np.random.default_rng(1), 700)
    strips = list(canvas.noise_by_strip(channels=3))
    assert len(strips) > 1
    assert [row for rows, _ in strips for row in range(rows.start, rows.stop)] == [*range(700)]
    expected = np.random.default_rng(1).standard_normal((700, 700, 3)).astype(np.float32)
    assert (np.concatenate([noise for _, noise in strips]) == expected).all()


def test_an_roi_takes_little_memory_for_its_pixels():
    """Some twelve planes of float32 at a time (100 bytes a pixel were 1.6 GB at 4096 px)."""
    import tracemalloc

    from benchbcss.data.phantom import writer

    plan = writer._plan(6, 1024, 0)[-1]
    tracemalloc.start()
    try:
        writer._draw(plan)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / 1024**2 < 70
