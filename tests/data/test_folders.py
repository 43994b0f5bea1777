"""Plain folders as people keep them."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.dataset import Dataset
from benchbcss.data.reader import Reading, open_reader
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError

RNG = np.random.default_rng(0)


def image(path, shape=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)


def mask(path, values=(0, 1, 2), shape=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = RNG.choice(values, shape).astype(np.uint8)
    Image.fromarray(codes).save(path)
    return codes


LAYOUTS = {
    "two folders": [("images/a.png", "masks/a.png"), ("images/b.png", "masks/b.png")],
    "TIFF and capitals": [("Images/a.TIF", "Masks/a.PNG"), ("Images/b.TIF", "Masks/b.PNG")],
    "one folder, suffix": [("a.tif", "a_anno.tif"), ("b.tif", "b_anno.tif")],
    "JPEG images": [("img/a.jpg", "gt/a.png"), ("img/b.JPEG", "gt/b.png")],
    "both": [("images/a.png", "masks/a_mask.png"), ("images/b.png", "masks/b_mask.png")],
    "nnU-Net": [
        ("imagesTr/a_0000.png", "labelsTr/a.png"),
        ("imagesTr/b_0000.png", "labelsTr/b.png"),
    ],
    "nested below": [("images/x/a.png", "masks/x/a.png"), ("images/y/b.png", "masks/y/b.png")],
    "nested above": [("x/images/a.png", "x/masks/a.png"), ("y/images/b.png", "y/masks/b.png")],
    "nested on one side": [("images/x/a.png", "masks/a.png"), ("images/y/b.png", "masks/b.png")],
    "OME": [("images/a.ome.tif", "masks/a.png"), ("images/b.png", "masks/b.ome.tif")],
    "OME in one folder": [("a.ome.tif", "a_mask.png"), ("b.ome.tif", "b_mask.png")],
    "images beside masks": [("a.bmp", "annotations/a.bmp"), ("b.bmp", "annotations/b.bmp")],
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts_pair(tmp_path, layout):
    codes = {}
    for one, other in LAYOUTS[layout]:
        image(tmp_path / "d" / one)
        codes[other] = mask(tmp_path / "d" / other)
    (tmp_path / "d" / ".hidden").mkdir()
    image(tmp_path / "d" / ".hidden" / "a.png")
    image(tmp_path / "d" / "._a.png")  # as a Mac leaves them
    source = Dataset(tmp_path / "d", TileStore(tmp_path / "store"))
    assert source.names == ("a.png", "b.png")
    for name, other in zip(source.names, sorted(codes), strict=True):
        assert (source.roi(name).codes() == codes[other]).all()


def test_a_stem_in_two_folders_is_two_rois(tmp_path):
    for where in ("benign", "malignant"):
        for name in ("1", "2"):
            image(tmp_path / where / "images" / f"{name}.png")
            mask(tmp_path / where / "masks" / f"{name}.png")
    image(tmp_path / "benign" / "images" / "3.png")
    mask(tmp_path / "benign" / "masks" / "3.png")
    reader = open_reader(tmp_path, Reading(patient_pattern="^([a-z]+)/"))
    expected = ("3.png", "benign__1.png", "benign__2.png", "malignant__1.png", "malignant__2.png")
    assert reader.ids == expected
    assert reader.source("malignant__1.png").mask == tmp_path / "malignant" / "masks" / "1.png"
    assert [reader.patient(roi) for roi in expected[:2]] == ["benign", "benign"]


def test_a_suite_may_name_folders_and_suffix(tmp_path):
    for name in ("a", "b"):
        image(tmp_path / "slides" / "x" / f"{name}.png")
        image(tmp_path / "slides" / "y" / f"{name}.png")
        mask(tmp_path / "drawn" / "x" / f"{name}-done.png")
        mask(tmp_path / "drawn" / "y" / f"{name}-done.png")
    with pytest.raises(DataError, match="not laid out as any reader"):
        open_reader(tmp_path, Reading())
    reading = Reading(images="slides", masks="drawn", mask_suffix="-done")
    assert len(open_reader(tmp_path, reading).ids) == 4
    for path in (tmp_path / "drawn").rglob("*.png"):
        path.rename(tmp_path / "slides" / path.parent.name / path.name)
    assert len(open_reader(tmp_path, Reading(mask_suffix="-done")).ids) == 4


def test_pairs_from_a_csv_with_patients(tmp_path):
    image(tmp_path / "é1.jpg")
    image(tmp_path / "s2.png")
    mask(tmp_path / "annot" / unicodedata.normalize("NFD", "é.png"))
    mask(tmp_path / "annot" / "two.png")
    (tmp_path / "pairs.csv").write_text(
        "Image;Mask;patient;site\né1.jpg;annot\\é.png;P1;north\ns2.png;annot/two.png;;\n",
        encoding="utf-8",
    )
    reader = open_reader(tmp_path, Reading(pairs="pairs.csv", patient_pattern=r"^s(\d)"))
    assert reader.ids == ("s2.png", "é1.png")
    assert [reader.patient(roi) for roi in reader.ids] == ["2", "P1"]
    assert [reader.site(roi) for roi in reader.ids] == [None, "north"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,b_mask.png", "row 2: there is no file 'b_mask.png'.*Is it 'a_mask.png'"),
        ("a.png,a_mask.png\na.png,a_mask.png", "row 3: the image 'a.png' is listed twice"),
        ("a.png,a_mask.png\nb.png,a_mask.png", "row 3: the mask 'a_mask.png' .* twice.*row 2"),
        ("a.png,../a_mask.png", "row 2: '../a_mask.png' must lie within"),
        ("a.png,/etc/passwd", "must lie within"),
        ("a.png,", "there is no file ''"),
        ("", "lists no pair"),
    ],
)
def test_a_broken_list_of_pairs(tmp_path, rows, message):
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    mask(tmp_path / "a_mask.png")
    (tmp_path / "pairs.csv").write_text(f"image,mask\n{rows}\n")
    with pytest.raises(DataError, match=message):
        open_reader(tmp_path, Reading(pairs="pairs.csv"))


def test_lossy_masks_are_refused_by_name(tmp_path):
    image(tmp_path / "images" / "a.png")
    image(tmp_path / "masks" / "a.jpg")
    with pytest.raises(DataError, match=r"masks/a\.jpg is lossy.*Export the masks anew"):
        open_reader(tmp_path, Reading())


@pytest.mark.parametrize("second", ["masks/a.tif", "masks/a_label.png"])
def test_two_masks_for_one_image_are_refused(tmp_path, second):
    image(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    mask(tmp_path / second)
    with pytest.raises(DataError, match=r"'a' has 2 masks: .*Keep one"):
        open_reader(tmp_path, Reading(reader="folders"))


def test_two_images_for_one_mask_are_refused(tmp_path):
    image(tmp_path / "images" / "a.tif")
    image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"'a' has 2 images: .*Keep one"):
        open_reader(tmp_path, Reading())


@pytest.mark.parametrize("missing", ["images/slide7.tif", "masks/slide7.tif"])
def test_what_does_not_pair_is_named_with_the_nearest(tmp_path, missing):
    for name in ("slide5", "slide6", "slide7"):
        image(tmp_path / "images" / f"{name}.tif")
        mask(tmp_path / "masks" / f"{name}.tif")
    (tmp_path / missing).rename(tmp_path / missing.replace("slide7", "slde7"))
    with pytest.raises(DataError, match=r"1 image\(s\) .*have no mask, the first is .*nearest is"):
        open_reader(tmp_path, Reading())


def test_zero_and_255(tmp_path):
    image(tmp_path / "images" / "a.tif")
    codes = mask(tmp_path / "masks" / "a.tif", (0, 255))
    source = Dataset(tmp_path, TileStore(tmp_path / "store"))
    assert source.roi("a.png").mask_entry.codes == {
        0: int((codes == 0).sum()),
        255: int((codes == 255).sum()),
    }


@pytest.mark.parametrize(
    ("images", "masks"),
    [("train_images", "train_masks"), ("Tissue Images", "Label Masks"), ("x/RGB", "x/gt-labels")],
)
def test_folders_whose_names_hold_the_word(tmp_path, images, masks):
    for stem in ("a", "b"):
        image(tmp_path / images / f"{stem}.png")
        mask(tmp_path / masks / f"{stem}.png")
    assert open_reader(tmp_path, Reading()).ids == ("a.png", "b.png")


def test_a_test_set_without_masks_is_told_how_to_leave_it_out(tmp_path):
    """nnU-Net's imagesTs, and equal stems of training and test."""
    for name in ("imagesTr/a_0000.png", "imagesTs/a_0000.png", "imagesTs/b_0000.png"):
        image(tmp_path / name)
    codes = mask(tmp_path / "labelsTr" / "a.png")
    with pytest.raises(DataError, match="none in imagesTs has one: .*--images DIR"):
        open_reader(tmp_path, Reading())
    reader = open_reader(tmp_path, Reading(images="imagesTr", masks="labelsTr"))
    assert reader.ids == ("a.png",)
    assert (reader.codes("a.png") == codes).all()
    mask(tmp_path / "labelsTs" / "a.png")
    mask(tmp_path / "labelsTs" / "b.png")
    reader = open_reader(tmp_path, Reading())
    assert reader.ids == ("b.png", "tr__a.png", "ts__a.png")
    assert (reader.codes("tr__a.png") == codes).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imagesTr/a_0000.nii.gz", "NIfTI is not read"),
        ("slides/a.svs", "Whole slides are not read: cut regions"),
        ("a.geojson", "Outlines are not read: draw them"),
        ("a.dat", "Its files are .dat.$"),
    ],
)
def test_other_kinds_of_files_are_named_with_what_to_do(tmp_path, name, words):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        open_reader(tmp_path, Reading())


def test_the_bcss_reader_takes_no_files(tmp_path):
    image(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match="takes no 'files' \\(instances\\)"):
        open_reader(tmp_path, Reading(reader="bcss", instances=True))
    reader = open_reader(tmp_path, Reading(instances=True))
    assert set(np.unique(reader.codes("a.png"))) == {0, 1}


def test_images_and_masks_of_which_none_pair_are_named(tmp_path):
    image(tmp_path / "images" / "slide_12.png")
    mask(tmp_path / "masks" / "region7.png")
    with pytest.raises(
        DataError, match=r"1 image\(s\) in .* have no mask.*list the pairs in a CSV"
    ):
        open_reader(tmp_path, Reading())
    with pytest.raises(DataError, match="is a file, not a folder"):
        open_reader(tmp_path / "masks" / "region7.png", Reading())


def test_links_to_folders_are_followed(tmp_path):
    """As data lies on clusters; a link back, and a link to what lies here, add nothing."""
    for name in ("a", "b"):
        image(tmp_path / "disk" / "i" / f"{name}.tif")
        mask(tmp_path / "disk" / "m" / f"{name}.png")
    root = tmp_path / "d"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "disk" / "i")
    (root / "masks").symlink_to(tmp_path / "disk" / "m")
    assert open_reader(root, Reading()).ids == ("a.png", "b.png")
    image(root / "more" / "images" / "c.tif")
    mask(root / "more" / "masks" / "c.png")
    (root / "more" / "images" / "back").symlink_to(root)
    (root / "again").symlink_to(root / "more")
    (root / "everything").symlink_to(tmp_path)
    reader = open_reader(root, Reading())
    assert reader.ids == ("a.png", "b.png", "c.png")
    assert reader.source("c.png").image == root / "more" / "images" / "c.tif"


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    for site in ("north", "south"):
        image(tmp_path / "images" / site / f"{site}.tif")
        mask(tmp_path / "masks" / site / f"{site}.png")
    (tmp_path / "lost+found").mkdir()
    listed = os.listdir

    def refused(path):
        if str(path).endswith(("south", "lost+found")):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(DataError, match=r"s/south cannot be read: Permission denied\. Make"):
        open_reader(tmp_path, Reading())


def test_links_to_nothing_are_rois_that_cannot_be_read(tmp_path):
    """A copy without what its links lead to: not half a data set, in silence."""
    for folder, suffix in (("images", "tif"), ("masks", "png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"b.{suffix}").symlink_to(f"/nowhere/b.{suffix}")
    image(tmp_path / "images" / "a.tif")
    mask(tmp_path / "masks" / "a.png")
    source = Dataset(tmp_path, TileStore(tmp_path / "store"))
    assert source.names == ("a.png", "b.png")
    with pytest.raises(DataError, match=r"images/b\.tif cannot be read: No such file"):
        source.roi("b.png")


@pytest.mark.parametrize("stem", ["tile_{:04d}", "s{}_label", "s{}.seg", "{}_img"])
def test_equal_stems_pair_whatever_their_ends_mean(tmp_path, stem):
    """``tile_0000`` is no first channel where its mask has the same name."""
    for index in range(3):
        image(tmp_path / "images" / f"{stem.format(index)}.tif")
        mask(tmp_path / "masks" / f"{stem.format(index)}.png")
    assert open_reader(tmp_path, Reading()).ids == tuple(f"{stem.format(i)}.png" for i in range(3))


def test_a_stem_without_its_mask_takes_none_of_another_patient(tmp_path):
    """Three patients' tiles have the same numbers: what is lost in two of them must not meet."""
    for name in ("p1/1", "p2/1", "p2/2"):
        image(tmp_path / "images" / f"{name}.tif")
    for name in ("p1/1", "p2/2", "p3/1"):
        mask(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(DataError, match=r"1 image.*images/p2/1\.tif; another of this name lies"):
        open_reader(tmp_path, Reading())


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Reading(images="images"), "'images' alone does not say which files are masks"),
        (Reading(images="imagez", masks="masks"), "no folder 'imagez'.*Is it 'images'"),
        (Reading(images="d/images", masks="masks"), "no folder 'd/images'.*Is it 'images'"),
        (Reading(images="../x/images", masks="masks"), "not within .*put a link to it there"),
        (Reading(images="/tmp", masks="masks"), "not within"),
    ],
)
def test_folders_that_a_suite_names_wrongly(tmp_path, reading, message):
    image(tmp_path / "images" / "a.tif")
    mask(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=message):
        open_reader(tmp_path, reading)


def test_a_patient_in_two_unicode_forms_is_one(tmp_path):
    for form, number in (("NFC", 1), ("NFD", 2)):
        image(tmp_path / "images" / unicodedata.normalize(form, f"Müller_{number}.tif"))
        mask(tmp_path / "masks" / unicodedata.normalize(form, f"Müller_{number}.png"))
    for pattern in ("images/([^_]+)_", unicodedata.normalize("NFD", "Müller")):
        reader = open_reader(tmp_path, Reading(patient_pattern=pattern))
        assert {reader.patient(roi) for roi in reader.ids} == {"Müller"}


@pytest.mark.parametrize("workspace", ["benchbcss-workspace", "w"])
def test_a_workspace_within_the_data_holds_no_roi(tmp_path, workspace):
    """Commands that were run in the data's folder leave theirs there, with label maps of ROIs."""
    image(tmp_path / "a.png")
    codes = mask(tmp_path / "a_mask.png")
    (tmp_path / workspace / "store").mkdir(parents=True)
    mask(tmp_path / workspace / "runs" / "s" / "b" / "r" / "predictions" / "a.png")
    image(tmp_path / workspace / "data" / "phantom" / "images" / "z.png")
    reader = open_reader(tmp_path, Reading())
    assert reader.ids == ("a.png",)
    assert (reader.codes("a.png") == codes).all()


@pytest.mark.parametrize("form", ["masks/{}_{}.png", "masks/{1}/{0}.png"])
def test_a_mask_for_each_class_is_told_to_be_merged(tmp_path, form):
    for name in ("a", "b"):
        image(tmp_path / "images" / f"{name}.tif")
        for code in ("gland", "stroma"):
            mask(tmp_path / form.format(name, code), (0, 255))
    with pytest.raises(DataError, match="must be merged"):
        open_reader(tmp_path, Reading())
