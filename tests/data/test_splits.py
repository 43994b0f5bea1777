import csv
from collections import Counter

import pytest

from benchbcss.data.splits import built_in_split, institute_of, load_split, patient_of, read_split
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
