"""Stitched inference against MONAI's, on the same network and settings."""

import numpy as np
import pytest
import torch

from benchbcss.inference.tiling import blended

pytestmark = pytest.mark.peer
inferers = pytest.importorskip("monai.inferers", reason="MONAI is not installed")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 4, 5, padding=2),
    ).eval()


@pytest.mark.parametrize(("shape", "tile", "overlap"), [((150, 203), 64, 16), ((64, 97), 64, 32)])
def test_logits_equal_monais(net, shape, tile, overlap):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    def predict(tensor):
        logits = net(tensor)
        # A last class that is 1 everywhere: its weighted sum is the sum of weights.
        return torch.cat([logits, torch.ones_like(logits[:, :1])], 1)

    with torch.no_grad():
        bands = list(blended(predict, image, 5, tile=tile, overlap=overlap, batch=2))
        sums = torch.cat([band.clone() for _, band in _copied(predict, image, tile, overlap)], 1)
        theirs = inferers.sliding_window_inference(
            torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255,
            tile,
            2,
            net,
            overlap=overlap / tile,
            mode="gaussian",
            sigma_scale=0.125,
        )
    assert sum(band.shape[1] for _, band in bands) == shape[0]
    ours = (sums[:4] / sums[4:])[:, : shape[0], : shape[1]]
    assert torch.allclose(ours, theirs[0], atol=1e-4)
    assert (ours - theirs[0]).abs().max() < 1e-4


def _copied(predict, image, tile, overlap):
    """Bands are views of one buffer: each must be copied before the next is asked for."""
    for top, band in blended(predict, image, 5, tile=tile, overlap=overlap, batch=2):
        yield top, band.clone()
