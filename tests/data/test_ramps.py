"""Masks that were interpolated are told from drawn ones, though all their values are codes."""

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.dataset import Dataset
from benchbcss.data.ramps import look_interpolated, ramps
from benchbcss.data.store import TileStore


def drawn(shape=(96, 128)):
    """Blobs of the codes 0 to 7, in their many neighbourhoods."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((np.sin(x / 9) + np.cos(y / 7) + np.sin((x + y) / 15)) * 1.3 + 4).astype(np.uint8)


def test_counts_are_those_of_a_naive_loop():
    codes = np.random.default_rng(0).integers(0, 4, (1100, 9)).astype(np.uint16)
    between = borders = 0
    for lines in (codes, codes.T):
        for line in lines.tolist():
            for first, middle, last in zip(line, line[1:], line[2:], strict=False):
                between += first < middle < last or first > middle > last
                borders += first != middle or middle != last
    assert ramps(codes) == (between, borders)
    assert ramps(codes[:1, :2]) == ramps(codes[:1, :1]) == (0, 0)


@pytest.mark.shared
@pytest.mark.parametrize("factor", [0.5, 0.9, 2])
def test_real_masks_are_told_apart_by_how_they_were_resampled(shared, factor):
    masks = [Image.open(path).convert("L") for path in (shared / "bcss_thumbs/masks").iterdir()]
    for way, said in (("NEAREST", ""), ("BILINEAR", "resampling"), ("BICUBIC", "resampling")):
        sizes = [(int(mask.width * factor), int(mask.height * factor)) for mask in masks]
        resampled = [m.resize(s, Image.Resampling[way]) for m, s in zip(masks, sizes, strict=True)]
        told = look_interpolated(ramps(np.asarray(mask)) for mask in resampled)
        assert bool(told) == bool(said), (way, told)
    assert not look_interpolated(ramps(np.asarray(mask)) for mask in masks)


def test_few_pixels_and_two_codes_say_nothing():
    assert look_interpolated([]) == look_interpolated([(9, 20)]) == ""
    binary = (np.random.default_rng(0).integers(0, 2, (200, 200)) * 255).astype(np.uint8)
    assert look_interpolated([ramps(binary)]) == ""


def test_a_run_is_told(folder, tmp_path):
    """Also from a store that was filled before."""
    store = TileStore(tmp_path / "store")
    for path in (folder / "masks").iterdir():
        codes = Image.fromarray(drawn((20, 28)) * 2)
        codes.resize((56, 40), Image.Resampling.BILINEAR).save(path)
    for _ in range(2):
        source = Dataset(folder, store)
        rois = {name: source.roi(name) for name in source.names}
        told = [d for d in source.doubts(rois, 0.3, bcss_codes=False) if "nearest neighbour" in d]
        assert len(told) == 1
