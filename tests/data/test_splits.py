import csv
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from benchbcss.data.splits import (
    Assignment,
    bcss_regions,
    built_in_split,
    institute_of,
    load_split,
    patient_of,
    read_split,
    region_of,
)
from benchbcss.errors import DataError, UnknownNameError

TEST_SITES = {"OL", "LL", "E2", "EW", "GM", "S3"}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("brief", {"train": 85, "val": 21, "test": 45}),
        ("eva", {"train": 76, "val": 30, "test": 45}),
        ("official", {"train": 106, "test": 45}),
    ],
)
def test_published_sizes(name, sizes):
    assignment = built_in_split(name)
    assert len(assignment) == 151
    assert Counter(assignment.values()) == sizes


@pytest.mark.parametrize("name", ["brief", "eva", "official"])
def test_test_institutes_are_the_six_and_no_patient_is_shared(name):
    split = load_split(name, built_in_split(name))
    assert {institute_of(file) for file in split.test} == TEST_SITES
    assert not {institute_of(file) for file in split.train} & TEST_SITES
    assert split.leakage().errors == ()


def test_brief_shares_institutes_between_train_and_val():
    warnings = load_split("brief", built_in_split("brief")).leakage().warnings
    assert len(warnings) == 1
    assert "val is optimistic" in warnings[0]


@pytest.mark.shared
def test_splits_equal_the_published_table(shared):
    columns = {
        "official": "official_amgad2019",
        "brief": "vfm_seed42_shuffle",
        "eva": "eva_institution_split",
    }
    with open(shared / "facts" / "bcss_splits.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    name = next(key for key in rows[0] if key in ("filename", "file", "name", "roi"))
    for ours, theirs in columns.items():
        published = {row[name]: row[theirs].strip().lower() for row in rows if row[theirs].strip()}
        assert built_in_split(ours) == published


def test_patients_and_institutes():
    name = "TCGA-A2-A0YE-DX1_xmin59206_ymin33505_MPP-0.2500.png"
    assert patient_of(name) == "TCGA-A2-A0YE"
    assert institute_of(name) == "A2"
    assert (patient_of("slide7.png"), institute_of("slide7.png")) == (None, "?")


def test_a_patient_in_two_parts_is_an_error(tmp_path):
    names = [f"TCGA-A2-A0YE-DX{i}_x.png" for i in (1, 2)]
    path = tmp_path / "s.csv"
    path.write_text(f"filename,split\n{names[0]},train\n{names[1]},test\n")
    errors = load_split(str(path), names).leakage().errors
    assert "1 patient(s) in both train and test: TCGA-A2-A0YE" in errors[0]


def test_files_in_no_part_and_absent_files_are_listed(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("filename,split\na.png,train\nb.png,test\ngone.png,val\n")
    split = load_split(str(path), ["a.png", "b.png", "extra.png"])
    assert split.unassigned == ("extra.png",)
    assert split.absent == ("gone.png",)


def test_a_split_without_test_roi_says_what_to_pass():
    with pytest.raises(
        DataError, match="'official' has no test ROI among the 2 present; pass --split"
    ):
        load_split("official", ["TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png", "x.png"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,part\na,train\n", "needs the columns"),
        ("filename,split\na.png,training\n", "row 2: split 'training'"),
        ("filename,split\na.png,train\na.png,test\n", "row 3: 'a.png' is in two parts"),
    ],
)
def test_a_broken_split_names_file_and_row(tmp_path, text, message):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(path)


def test_misspelt_and_missing_splits(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'official'"):
        load_split("offical", ["a.png"])
    with pytest.raises(DataError, match="cannot be read"):
        load_split(str(tmp_path / "none.csv"), ["a.png"])


def test_the_fingerprint_follows_the_assignment(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("filename,split\na.png,train\nb.png,test\n")
    first = load_split(str(path), ["a.png", "b.png"]).fingerprint()
    path.write_text("filename,split\nb.png,train\na.png,test\n")
    assert load_split(str(path), ["a.png", "b.png"]).fingerprint() != first


def written(tmp_path, text):
    path = tmp_path / "s.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_patient_and_site_columns_come_before_names(tmp_path):
    text = (
        "filename,split,Patient,site\na.png,train,P1,north\nb.png,test,P1,south\n"
        "TCGA-A2-A0YE-x.png,test,,\n"
    )
    names = ["a.png", "b.png", "TCGA-A2-A0YE-x.png"]
    split = load_split(written(tmp_path, text), names)
    expected = {"a.png": "P1", "b.png": "P1", "TCGA-A2-A0YE-x.png": "TCGA-A2-A0YE"}
    assert split.patients == expected
    assert split.sites == {"a.png": "north", "b.png": "south", "TCGA-A2-A0YE-x.png": "A2"}
    (error,) = split.leakage().errors
    assert "1 patient(s) in both train and test: P1" in error
    assert split.leakage().patients_unknown == 0


def test_unknown_patients_are_not_claimed_to_be_apart(tmp_path):
    text = "filename,split\nP01_a.png,train\nP01_b.png,test\n"
    leakage = load_split(written(tmp_path, text), ["P01_a.png", "P01_b.png"]).leakage()
    assert leakage.errors == ()
    assert leakage.patients_unknown == 2
    assert "no patient" not in leakage.claim
    assert "patients are unknown for 2 of 2 ROIs: no claim" in leakage.warnings[0]
    known = load_split("brief", built_in_split("brief")).leakage()
    assert known.claim == "no patient is in two parts"


@pytest.mark.parametrize(
    ("change", "unicode_form"),
    [
        (lambda name: name.removesuffix(".png"), "NFC"),
        (lambda name: f"images/{name}", "NFC"),
        (lambda name: "images\\" + name, "NFC"),
        (lambda name: name, "NFD"),
        (lambda name: name.replace(".png", ".tif"), "NFD"),
    ],
)
def test_names_written_otherwise_are_met(tmp_path, change, unicode_form):
    names = [f"cas-é{i}.png" for i in range(3)]
    rows = zip(map(change, names), ("train", "val", "test"), strict=True)
    text = "filename,split\n" + "".join(f"{name},{part}\n" for name, part in rows)
    present = [unicodedata.normalize(unicode_form, name) for name in names]
    split = load_split(written(tmp_path, text), present)
    assert [*split.train, *split.val, *split.test] == present
    assert (split.absent, split.unassigned) == ((), ())


def test_a_name_that_fits_two_files_fits_none(tmp_path):
    text = "filename,split\nx,train\ny.png,test\nz.png,train\n"
    split = load_split(written(tmp_path, text), ["x.png", "x.tif", "y.png", "z.png"])
    assert split.absent == ("x",)
    assert split.unassigned == ("x.png", "x.tif")


def test_two_names_of_one_file_must_agree(tmp_path):
    text = "filename,split\nimages/x.png,train\nx.png,train\ny.png,test\n"
    split = load_split(written(tmp_path, text), ["x.png", "y.png"])
    assert split.train == ("x.png",)
    text = "filename,split\nimages/x.png,train\nother/x.png,test\ny.png,test\n"
    with pytest.raises(DataError, match="names 'x.png' twice.*they disagree"):
        load_split(written(tmp_path, text), ["x.png", "y.png"])


def test_near_misses_are_named(tmp_path):
    text = "filename,split\nRoi1.png,train\nroi2.png,train\nroi3.png,test\nrio4.png,test\n"
    present = ["roi1.png", "roi2.png", "roi3.png", "something.png"]
    assert load_split(written(tmp_path, text), present).hints == (
        "'Roi1.png' is in the split, 'roi1.png' in the folder",
    )
    text = "filename,split\nroi1.png,train\nslide_rio4.png,test\n"
    with pytest.raises(DataError, match="no test ROI.*'slide_rio4.png' is in the split, 'slide_ro"):
        load_split(written(tmp_path, text), ["roi1.png", "slide_roi4.png"])


def test_parts_in_capitals_are_read_and_others_guessed(tmp_path):
    assert load_split(written(tmp_path, "filename,split\na,Train\nb,TEST\n"), ["a", "b"]).test
    written(tmp_path, "filename,split\na,validation\n")
    with pytest.raises(DataError, match="'validation' is not one of.*Write 'val'"):
        read_split(tmp_path / "s.csv")


def test_rows_that_contradict_each_other(tmp_path):
    text = "filename,split,patient\na.png,train,P1\na.png,train,P2\n"
    written(tmp_path, text)
    with pytest.raises(DataError, match="row 3: 'a.png' has two patients"):
        read_split(tmp_path / "s.csv")
    written(tmp_path, "filename,split\n,train\n")
    with pytest.raises(DataError, match="row 2: there is no file name"):
        read_split(tmp_path / "s.csv")
    written(tmp_path, "filename,split,patient,site\na.png,train,P1,\n")
    assert read_split(tmp_path / "s.csv") == {"a.png": Assignment("train", "P1", None)}


@pytest.mark.parametrize("scale", ["_MPP-1.0000", "_MAG-20.00", "_", ""])
def test_the_published_splits_hold_at_any_scale(scale):
    """The authors' script names files after the scale that they were downloaded at."""
    names = [name.replace("_MPP-0.2500", scale) for name in built_in_split("brief")]
    split = load_split("brief", names)
    assert (len(split.train), len(split.val), len(split.test)) == (85, 21, 45)
    assert (split.unassigned, split.absent) == ((), ())
    both = load_split("brief", [*names, *built_in_split("brief")])  # each ROI once
    assert {*both.unassigned} == {*names}
    assert bcss_regions() == {*map(region_of, names)}
    assert region_of("sub/TCGA-A1-A0SK-01Z_2.png") == "TCGA-A1-A0SK-01Z_2"


@pytest.mark.parametrize("one", ["images/p1/1.tif", "p1\\1.tif", "C:\\data\\images\\p1\\1.TIF"])
def test_a_path_names_the_roi_that_is_called_after_its_folders(tmp_path, one):
    """Stems that several folders hold join the folders' names."""
    text = f"filename,split\n{one},train\np2/1.tif,test\np2/2.tif,test\n"
    present = ["1.png", "2.png", "p1__1.png", "p2__1.png"]
    split = load_split(written(tmp_path, text), present)
    assert (split.train, split.test) == (("p1__1.png",), ("2.png", "p2__1.png"))
    assert (split.unassigned, split.absent) == (("1.png",), ())


def test_a_patient_in_other_capitals_is_the_same(tmp_path):
    rows = "a.png,train,MÜLLER\nb.png,test,Müller\nc.png,val,P2\n"
    split = load_split(
        written(tmp_path, f"filename,split,patient\n{rows}"), ["a.png", "b.png", "c.png"]
    )
    (error,) = split.leakage().errors
    assert "1 patient(s) in both train and test: MÜLLER / Müller." in error


def test_rows_of_no_part_are_to_be_left_out(tmp_path):
    with pytest.raises(DataError, match="'exclude' is not one of .* Leave out rows of ROIs"):
        read_split(Path(written(tmp_path, "filename,split\na.png,train\nb.png,exclude\n")))
