import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchbcss.data.dataset import Dataset, check_scored, fingerprint, identical
from benchbcss.data.labels import build_label_map, label_map
from benchbcss.data.reader import Reading
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError


def test_rois_and_their_targets(folder, tmp_path):
    source = Dataset(folder, TileStore(tmp_path / "store"))
    labels = label_map("bcss5")
    rois = source.rois(source.names, labels)
    roi = rois["roi0.png"]
    codes = np.asarray(Image.open(folder / "masks" / "roi0.png"))
    target = roi.target(labels)
    assert target.dtype == np.uint8
    assert (target == labels.lookup[codes]).all()
    expected = [int((target == label).sum()) for label in range(6)]
    assert roi.class_pixels(labels).tolist() == expected
    assert roi.image().shape == (40, 56, 3)


def test_the_releases_folder_name_is_known_and_normalised(folder, tmp_path):
    (folder / "images").rename(folder / "rgbs_colorNormalized")
    source = Dataset(folder, TileStore(tmp_path / "store"))
    assert source.colour_normalised
    assert len(source.names) == 6


def test_an_unknown_code_names_file_value_and_count(folder, tmp_path):
    path = folder / "masks" / "roi2.png"
    mask = np.array(Image.open(path))
    mask[0, :3] = 23
    Image.fromarray(mask).save(path)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    with pytest.raises(DataError, match=r"roi2\.png: 3 pixel\(s\) have the value 23"):
        source.rois(source.names, label_map("bcss5"))


def test_sizes_must_agree(folder, tmp_path):
    Image.fromarray(np.zeros((41, 56), np.uint8)).save(folder / "masks" / "roi1.png")
    source = Dataset(folder, TileStore(tmp_path / "store"))
    with pytest.raises(DataError, match=r"roi1\.png is 56 x 40 px but .*roi1\.png is 56 x 41 px"):
        source.roi("roi1.png")


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_missing_partner_is_named(folder, tmp_path, missing):
    (folder / missing / "roi4.png").unlink()
    with pytest.raises(DataError, match=rf"missing from .*{missing}, the first is roi4\.png"):
        Dataset(folder, TileStore(tmp_path / "store"))


def test_empty_and_foreign_folders(tmp_path):
    store = TileStore(tmp_path / "store")
    with pytest.raises(DataError, match="does not exist"):
        Dataset(tmp_path / "none", store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"bcss: masks/ and images/.*folders: images and masks"):
        Dataset(tmp_path / "empty", store)
    (tmp_path / "empty" / "images").mkdir()
    (tmp_path / "empty" / "masks").mkdir()
    with pytest.raises(DataError, match="not laid out as any reader expects"):
        Dataset(tmp_path / "empty", store)


def test_the_fingerprint_follows_the_bytes(folder, tmp_path):
    store = TileStore(tmp_path / "store")
    source = Dataset(folder, store)
    first = fingerprint([source.roi(name) for name in source.names])
    assert first == fingerprint([source.roi(name) for name in reversed(source.names)])
    other = shutil.copytree(folder, tmp_path / "other")
    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(other / "images" / "roi0.png")
    changed = Dataset(other, store)
    assert fingerprint([changed.roi(name) for name in changed.names]) != first


@pytest.mark.shared
def test_real_rois_are_read(shared, tmp_path):
    source = Dataset(shared / "bcss_thumbs", TileStore(tmp_path / "store"))
    labels = label_map("bcss5", source.code_table())
    rois = source.rois(source.names, labels)
    assert len(rois) == 12
    assert sum(int(roi.class_pixels(labels)[0]) for roi in rois.values()) > 10_000


@pytest.mark.shared
def test_the_official_full_size_mask(shared, tmp_path):
    path = next((shared / "bcss_mask_A0YE").glob("*.png"))
    entry = TileStore(tmp_path / "store").entry(path, "mask")
    assert entry.shape == (4542, 4594) or entry.shape == (4594, 4542)
    assert set(entry.codes) == {0, 1, 2, 3, 7, 13, 18}
    assert sum(entry.codes.values()) == 4594 * 4542


def test_identical_images_in_two_parts_are_named(folder, tmp_path):
    for name in ("roi4.png", "roi1.png"):  # test and train
        shutil.copy(folder / "images" / "roi0.png", folder / "images" / name)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    split = source.split(str(folder / "splits.csv"))
    found = identical(source.rois(source.names, label_map("bcss5")), split)
    assert [text.split(".  ")[0].split(" are ")[0] for text in found] == [
        "'roi0.png' (train) and 'roi4.png' (test)",
        "'roi1.png' (train) and 'roi4.png' (test)",
    ]


def test_codes_beyond_a_byte(folder, tmp_path):
    path = folder / "masks" / "roi0.png"
    codes = np.array(Image.open(path)).astype(np.uint16) * 1000
    Image.fromarray(codes).save(path)
    known = {f"c{code}": int(code) for code in np.unique(codes)}
    labels = build_label_map("own", {"classes": {name: [name] for name in known}}, known)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    roi = source.rois(["roi0.png"], labels)["roi0.png"]
    target = roi.target(labels)
    assert target.dtype == np.uint8
    assert (np.array(sorted(known.values()))[target] == codes).all()
    assert roi.class_pixels(labels).sum() == codes.size


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda mask: np.where(mask > 0, 255, 0), "A mask of 0 and 255"),
        (lambda mask: mask * 10, "All its values are 10 times a code"),
        (lambda mask: np.arange(mask.size).reshape(mask.shape) % 200, "resampled with interp"),
    ],
)
def test_masks_that_are_not_codes_say_what_they_look_like(folder, tmp_path, change, hint):
    path = folder / "masks" / "roi0.png"
    Image.fromarray(change(np.array(Image.open(path))).astype(np.uint8)).save(path)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    with pytest.raises(DataError, match=rf"roi0\.png: .*not in the code table.*{hint}"):
        source.rois(source.names, label_map("bcss5"))


def test_a_splits_sites_reach_the_rois(folder, tmp_path):
    (folder / "s.csv").write_text("filename,split,site\nroi0.png,train,north\nroi1.png,test,\n")
    source = Dataset(folder, TileStore(tmp_path / "store"), Reading(site_pattern=r"roi(\d)"))
    split = source.split(str(folder / "s.csv"))
    assert [source.roi(f"roi{i}.png").institute for i in (0, 1, 2)] == ["north", "1", "2"]
    again = Dataset(folder, source.store, sites=split.sites)
    assert [again.roi(f"roi{i}.png").institute for i in (0, 1, 2)] == ["north", "1", "?"]


@pytest.mark.parametrize("other", ["b.tif", "north/b.png", "b.jpg"])
def test_pictures_that_bcss_layout_does_not_read_are_named(folder, tmp_path, other):
    """Read were the PNGs right in the two folders, and nothing was said of the others."""
    for kind in ("images", "masks"):
        path = folder / kind / (other if kind == "images" else other.replace("jpg", "tif"))
        path.parent.mkdir(exist_ok=True)
        shape = (40, 56, 3) if kind == "images" else (40, 56)
        Image.fromarray(np.ones(shape, np.uint8)).save(path)
    store = TileStore(tmp_path / "store")
    with pytest.raises(
        DataError, match=rf"images holds 1 picture.* first is {other}: it reads PNG"
    ):
        Dataset(folder, store)
    for reading in (Reading(reader="folders"), Reading(images="images", masks="masks")):  # advised
        assert set(Dataset(folder, store, reading).names) == {
            "b.png",
            *(f"roi{i}.png" for i in range(6)),
        }


def test_equal_pixels_in_other_files_are_identical_images(folder, tmp_path):
    """An image exported twice: another compression, another date in the file."""
    picture = Image.open(folder / "images" / "roi0.png")
    about = PngInfo()
    about.add_text("Creation Time", "yesterday")
    picture.save(folder / "images" / "roi4.png", compress_level=1, pnginfo=about)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    split = source.split(str(folder / "splits.csv"))
    (found,) = identical(source.rois(source.names, label_map("bcss5")), split)
    assert found.startswith("'roi0.png' (train) and 'roi4.png' (test) are identical images")


def test_doubts(folder, tmp_path):
    """Codes of others under BCSS's names, and a scale that names contradict."""
    for path in (folder / "masks").iterdir():
        Image.fromarray(np.full((40, 56), 2, np.uint8)).save(path)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    rois = {name: source.roi(name) for name in source.names}
    (doubt,) = source.doubts(rois, 0.3, bcss_codes=True)
    assert "read with the codes of BCSS" in doubt
    assert source.doubts(rois, 0.3, bcss_codes=False) == ()
    for kind in ("images", "masks"):
        for path in (folder / kind).iterdir():
            corner = 25055 + int(path.stem[-1])
            path.rename(path.with_name(f"TCGA-A1-A0SK-DX1_xmin45749_ymin{corner}_MPP-1.0000.png"))
    source = Dataset(folder, source.store)
    rois = {name: source.roi(name) for name in source.names}
    (doubt,) = source.doubts(rois, 0.3, bcss_codes=True)  # the first is one of BCSS's
    assert doubt.startswith("names of files say 1 um per pixel, the suite 0.3")
    assert source.doubts(rois, 1.0, bcss_codes=True) == ()
    shutil.copy(source.reader.source(source.names[0]).image, folder / "images" / source.names[2])
    rois = {name: source.roi(name) for name in source.names}
    (doubt,) = source.doubts(rois, 1.0, bcss_codes=True)
    assert doubt.startswith(f"'{source.names[0]}' and '{source.names[2]}' are identical images")


def test_a_test_part_must_have_something_to_score(folder, tmp_path):
    """Known before a training, not after it."""
    labels = label_map("bcss5")
    for name, code in (("roi4", 0), ("roi5", 0)):
        Image.fromarray(np.full((40, 56), code, np.uint8)).save(folder / "masks" / f"{name}.png")
    source = Dataset(folder, TileStore(tmp_path / "store"))
    rois = source.rois(["roi4.png", "roi5.png"], labels)
    with pytest.raises(DataError, match="No test ROI has a pixel of a class: all of them are ign"):
        check_scored(rois.values(), labels)
    Image.fromarray(np.full((40, 56), 2, np.uint8)).save(folder / "masks" / "roi4.png")
    rois = source.rois(["roi4.png", "roi5.png"], labels)
    assert check_scored(rois.values(), labels) == (
        "tumor",
        "lymphocyte",
        "necrosis",
        "blood_vessel",
    )
    assert check_scored([source.roi("roi0.png")], labels) == ()


def test_a_split_beside_the_data_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Dataset(folder, TileStore(tmp_path / "store"))
    with pytest.raises(DataError, match=rf"no splits\.csv in .* Pass --split {folder}/splits\.csv"):
        source.split("splits.csv")
    (tmp_path / "d.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"d\.zip is a file.*Unpack it, and pass the folder"):
        Dataset(tmp_path / "d.zip", source.store)
