"""Um per pixel by tags of TIFFs: what a microscope's software wrote, and nothing else."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from benchbcss.data.scale import scale


def tagged(path, across, unit, down=None, **options):
    resolution = (across, down or across)
    values = np.zeros((8, 8, 3), np.uint8)
    tifffile.imwrite(
        path, values, photometric="rgb", resolution=resolution, resolutionunit=unit, **options
    )
    return path


@pytest.mark.parametrize(
    ("across", "unit", "mpp"),
    [
        (40_000, "CENTIMETER", 0.25),
        (25_400 / 0.5, "INCH", 0.5),
        (72, "INCH", None),
        (4, "NONE", None),
    ],
)
def test_units(tmp_path, across, unit, mpp):
    assert scale([tagged(tmp_path / "a.tif", across, unit)]) == (mpp, ())


def test_imagej(tmp_path):
    for unit, mpp in (("um", 0.25), ("micron", 0.25), ("pixel", None)):
        path = tmp_path / f"{unit}.tif"
        about = f"ImageJ=1.53t\nunit={unit}\n"
        tagged(path, 4.0, "NONE", description=about, metadata=None)
        assert scale([path]) == (mpp, ())


def test_what_is_not_one_scale_is_said(tmp_path):
    one = tagged(tmp_path / "a.tif", 40_000, "CENTIMETER")
    other = tagged(tmp_path / "b.tif", 20_000, "CENTIMETER")
    flat = tagged(tmp_path / "c.tif", 40_000, "CENTIMETER", down=20_000)
    plain = tmp_path / "d.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(plain)
    assert scale([one, plain]) == (None, ())
    assert "from 0.25 to 0.5 um per pixel" in scale([one, other])[1][0]
    assert "not square, 0.25 by 0.5 um in c.tif" in scale([one, flat])[1][0]
