"""Names that stored results are kept under: they must never change for data that did not change.

The values were computed at commit 4fe665e, before readers, 16-bit codes and the phantom's package.
"""

import hashlib
from pathlib import Path

import pytest

from benchbcss.data.dataset import Dataset, fingerprint
from benchbcss.data.labels import label_map
from benchbcss.data.phantom import generate
from benchbcss.data.splits import built_in_split, load_split
from benchbcss.data.store import TileStore

DATA = "07050ebc6059f6f0b4ae36419b51f32643255f9116f4ea9b59882b5734a78d1b"
SPLIT = "7c23573ef86680755341b4a89c1a171b327d8a478183551bc971763f91d515d1"
LABELS = {
    "amgad5": "a04c2eecbc8aae33078a3780b1670a1ebeca69265417f32723b9e5e2230bbdc8",
    "bcss5": "fee9cfe258e1dd26984b36e247f3ec15d8dc5e3d4dd9f4c6a7bf3eefacde6596",
    "brief5": "c1310cb7b9486e9ac234f07dd3e0e40fa7ea5c49047b60d09e9ce39616c044d6",
    "brief9": "28d995f7ac6a2607c1301c6a02f26082ff7148a89b45f3b906bb9a4511b9b4f3",
    "tumor_binary": "1e7195e9905dd092f8d4f0cc7c57593e24df587173defb87f6e3fa64549827da",
}
SPLITS = {
    "brief": "58d2179ac97eb95db90c7f216858617930b09159e332d75832492442f8cb908c",
    "eva": "74af9086efe82b655b2ad2e960169f8ffd5853f2e3a92365a0b3fd99befb3973",
    "official": "d0838a8d305f876c60d18f096dd7ae16c2af77a8fe839e7ad55479f3c1115622",
}
FILES = Path(__file__).parent / "fixtures" / "phantom-8x128-seed3.sha256"

# Of six ROIs of 256 px: the one where an annotator gave up on a corner (code 7).
GAVE_UP = "TCGA-AN-P003-DX1_xmin29165_ymin22303_MPP-0.2500.png"
GAVE_UP_FILES = {
    "images": "03dec03df22a0d9252106e744bde4d51a7a048b1d0d61bc2e1113213155c625d",
    "masks": "390cb0add25417f873ff70b5bb0144e271da99d465b84305f0338cf921e5c14a",
}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_fingerprint_of_the_test_phantom(phantom, tmp_path):
    source = Dataset(phantom, TileStore(tmp_path / "store"))
    assert fingerprint([source.roi(name) for name in source.names]) == DATA
    assert source.split(str(phantom / "splits.csv")).fingerprint() == SPLIT
    assert load_split(str(phantom / "splits.csv"), source.names).fingerprint() == SPLIT


@pytest.mark.parametrize("name", sorted(LABELS))
def test_the_fingerprints_of_label_maps(name):
    assert label_map(name).fingerprint() == LABELS[name]


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_the_fingerprints_of_published_splits(name):
    assert load_split(name, built_in_split(name)).fingerprint() == SPLITS[name]


def test_the_bytes_of_the_test_phantom(phantom):
    files = sorted(path for path in phantom.rglob("*") if path.is_file())
    found = [f"{sha256(path)}  {path.relative_to(phantom).as_posix()}" for path in files]
    assert found == FILES.read_text().splitlines()


def test_the_bytes_of_an_roi_with_an_excluded_corner(tmp_path):
    generate(tmp_path / "p", rois=6, size=256)
    for folder, expected in GAVE_UP_FILES.items():
        assert sha256(tmp_path / "p" / folder / GAVE_UP) == expected
