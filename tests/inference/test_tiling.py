import numpy as np
import pytest
import torch

from benchbcss.errors import PluginError
from benchbcss.inference.tiling import gaussian, predict_tiled, starts


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "expected"),
    [
        (50, 64, 16, [0]),
        (64, 64, 16, [0]),
        (65, 64, 16, [0, 1]),
        (160, 64, 16, [0, 48, 96]),
        (170, 64, 16, [0, 48, 96, 106]),
    ],
)
def test_tiles_cover_and_end_flush(length, tile, overlap, expected):
    assert starts(length, tile, overlap) == expected


def colours(tiles):
    """A model of single pixels: the brightest channel wins, whatever the tile."""
    return tiles


def reference(predict, image, classes, tile, overlap):
    """The same by the book: whole-image sums of weighted logits and of weights."""
    height, width = image.shape[:2]
    total = torch.zeros(classes, height, width, dtype=torch.float64)
    weight = torch.zeros(height, width, dtype=torch.float64)
    window = gaussian(tile).double()
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            area = np.s_[..., top : top + tile, left : left + tile]
            total[area] += predict(tensor[area][None])[0].double() * window
            weight[area] += window
    return (total / weight).argmax(0).byte().numpy()


@pytest.mark.parametrize("shape", [(64, 64), (100, 131), (129, 64), (200, 90)])
@pytest.mark.parametrize("batch", [1, 3])
def test_bands_equal_whole_image_blending(shape, batch):
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 4, 5, padding=2)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with torch.no_grad():
        found = predict_tiled(net, image, 4, tile=64, overlap=16, batch=batch)
        expected = reference(net, image, 4, 64, 16)
    assert found.dtype == np.uint8
    assert (found == expected).mean() > 0.9999  # float32 against float64 at ties


@pytest.mark.parametrize("shape", [(7, 5), (64, 20), (33, 130)])
def test_rois_smaller_than_a_tile(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = predict_tiled(colours, image, 3, tile=64, overlap=16)
    assert found.shape == shape
    assert (found == image.argmax(-1)).all()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x[:, :, :32], r"shape \(1, 3, 32, 64\), expected \(1, 3, 64, 64\)"),
        (lambda x: x[:, :2], r"shape \(1, 2, 64, 64\)"),
        (lambda x: x * float("nan"), "NaN or infinite"),
        (lambda x: x + float("inf"), "NaN or infinite"),
    ],
)
def test_broken_logits_are_named(output, message):
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(PluginError, match=message):
        predict_tiled(output, image, 3, tile=64, overlap=0)


def test_one_row_of_tiles_is_held_in_memory():
    import tracemalloc

    image = np.zeros((4096, 128, 3), np.uint8)
    tracemalloc.start()
    predict_tiled(colours, image, 3, tile=128, overlap=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * image.size


def test_half_precision_sums_flip_few_labels():
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 4, 5, padding=2)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    with torch.no_grad():
        full = predict_tiled(net, image, 4, tile=64, overlap=16)
        half = predict_tiled(net, image, 4, tile=64, overlap=16, accumulate=torch.float16)
    assert (full != half).mean() < 0.005  # neighbouring scores here are far closer than a model's


LARGEST = """
import resource, sys
import numpy as np
import torch
from benchbcss.inference.tiling import predict_tiled

torch.set_num_threads(1)
image = np.memmap(sys.argv[1], np.uint8, "r", shape=(9801, 9248, 3))
net = torch.nn.Conv2d(3, 6, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    labels = predict_tiled(net, image, 6, tile=1024, overlap=256)
assert labels.shape == (9801, 9248)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024, after * 1024)
"""


@pytest.mark.slow
def test_the_largest_roi_fits_in_little_memory(tmp_path):
    """9801 x 9248 px and 6 classes: whole-image sums alone would be 2.2 GB."""
    import subprocess
    import sys

    path = tmp_path / "roi.raw"
    with open(path, "wb") as handle:
        handle.truncate(9801 * 9248 * 3)
    done = subprocess.run(
        [sys.executable, "-c", LARGEST, str(path)], capture_output=True, text=True, check=True
    )
    grown, peak = (int(value) for value in done.stdout.split())
    assert grown < 1.5e9
    assert peak < 6e9
