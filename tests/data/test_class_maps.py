"""Class maps as people have them, and matching by name."""

import json

import pytest

from benchbcss.data.class_maps import groups, label_of, match, parsed, read, targets
from benchbcss.errors import DataError

CLASSES = ("tumor", "stroma", "blood_vessel", "other")


@pytest.mark.parametrize(
    "raw",
    [
        {0: "tumor", 1: "stroma", 7: None},
        {"0": "tumor", "1": "stroma", "7": "ignore"},
        {"tumor": 0, "stroma": [1], "none": 7},
        {"id2label": {"0": "tumor", "1": "stroma", "7": None}, "label2id": {"tumor": 5}},
        {"labels": {"tumor": 0, "stroma": 1, "ignore": 7}, "file_ending": ".png"},
    ],
)
def test_every_form_says_the_same(raw):
    assert parsed(raw, "x").values == {0: "tumor", 1: "stroma", 7: None}


def test_lists_regions_colours_and_names():
    assert parsed(["tumor", "stroma"], "x").values == {0: "tumor", 1: "stroma"}
    regions = {
        "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
        "regions_class_order": [1, 2],
    }
    assert parsed(regions, "x").values == {0: "background", 1: "whole", 2: "core"}
    made = parsed({"#FF0000": "tumor", "0,255,0": "stroma", "other": "#0000ff"}, "x")
    assert made.colours == {(255, 0, 0): "tumor", (0, 255, 0): "stroma", (0, 0, 255): "other"}
    assert parsed({"wall": "tumor", "sky": None}, "x").names == {"wall": "tumor", "sky": None}
    for raw in ({3: "tumor", "wall": "stroma"}, {"#0a0b0c": "tumor"}):
        assert parsed(parsed(raw, "x").plain(), "y").plain() == parsed(raw, "x").plain()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, "holds no mapping"),
        ({}, "holds no mapping"),
        ("text", "holds no mapping"),
        ({1: 2}, "write the name of a class"),
        ({"tumor": [1], "stroma": [1]}, "1 is both 'tumor' and 'stroma'"),
        ({"tumor": [-1]}, "'-1' of 'tumor' is neither"),
        ({"tumor": True}, "'True' of 'tumor' is neither"),
        ({"labels": {"a": 1}, "regions_class_order": [1, 2]}, "must name one value for each"),
    ],
)
def test_what_is_no_class_map_is_named(raw, words):
    with pytest.raises(DataError, match=words):
        parsed(raw, "x")


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("a.csv", "value,class\n1,tumor\n2,\n", {1: "tumor", 2: None}),
        ("a.csv", "\ufeffLabel;Name\r\n1;tumor\r\n", {1: "tumor"}),
        ("a.tsv", "label\tGT_code\ntumor\t1\n", {1: "tumor"}),
        ("a.yaml", "1: tumor\n2: null\n", {1: "tumor", 2: None}),
        ("a.json", json.dumps({"1": "tumor"}), {1: "tumor"}),
    ],
)
def test_files(name, text, values, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read(tmp_path / name).values == values


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "x,y\n1,2\n", "needs the columns value,class or colour,class"),
        ("a.csv", "value,class\nred,tumor\n", "row 2: 'red' is neither"),
        ("a.json", "{", "cannot be read"),
        ("a.yaml", "a: [", "cannot be read"),
        ("a.yaml", "#ff0000: tumor", "with the quotes"),
        ("none/a.yaml", None, "No such file"),
    ],
)
def test_unreadable_files(name, text, words, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        read(tmp_path / name)


def test_colour_columns(tmp_path):
    (tmp_path / "a.csv").write_text("r,g,b,name\n255,0,0,tumor\n")
    (tmp_path / "b.csv").write_text("colour,class\n#ff0000,tumor\n")
    for name in ("a.csv", "b.csv"):
        assert read(tmp_path / name).colours == {(255, 0, 0): "tumor"}


def matched(names, **options):
    return match(names, CLASSES, (0, 1, 2), whose="theirs", remedy="Say it.", **options)


def test_names_match_in_any_spelling_and_through_codes():
    names = {0: "background", 1: "Tumor", 2: "STROMA", 3: "blood-vessel", 4: "fat"}
    found = matched(names, codes={"fat": 3, "exclude": 255})
    assert found.labels == {0: 255, 1: 0, 2: 1, 3: 2, 4: 3}
    assert found.left_out == ("background",)
    found = matched({1: "tumor", 2: "stroma", 3: "blood vessel", 4: "dcis"})
    assert found.labels[4] == 255
    assert found.left_out == ("dcis",)
    assert matched({0: "tumor"}).lacking == ("stroma", "blood_vessel")


def test_lists_that_do_not_fit_are_shown_side_by_side():
    with pytest.raises(DataError) as caught:
        matched({0: "tumor", 1: "stroma", 2: "vessels"})
    text = str(caught.value)
    assert "0 tumor, 1 stroma, 2 vessels | the suite's: tumor, stroma, blood_vessel" in text
    assert text.endswith("Say it.")
    with pytest.raises(DataError, match="and 138 more"):
        matched({i: f"LABEL_{i}" for i in range(150)})


def test_targets_must_be_classes():
    with pytest.raises(DataError, match="Did you mean 'tumor'"):
        targets(parsed({0: "tumour"}, "x"), CLASSES)
    targets(parsed({0: "Blood vessel", 1: "background"}, "x"), CLASSES)
    assert [label_of(name, CLASSES) for name in ("Stroma", "background", None)] == [1, 255, 255]


def test_groups_of_outputs():
    names = {0: "wall", 1: "sky", 2: "tree", 3: "stroma"}
    given = {"wall": "tumor", "2": "tumor", "Sky": "other"}
    assert groups(names, CLASSES, (0, 1, 2), given, "net") == ((0, 2), (), (), (1,))
    with pytest.raises(DataError, match="names 'wal', which net has not. Did you mean 'wall'"):
        groups(names, CLASSES, (0, 1, 2), {"wal": "tumor"}, "net")
    with pytest.raises(DataError, match="names '9'"):
        groups(names, CLASSES, (0, 1, 2), {"9": "tumor"}, "net")
    with pytest.raises(DataError, match="--set model.class_map=FILE"):
        groups(names, CLASSES, (0, 1, 2), None, "net")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.yaml", "0: glass\n1: tumour\n1: rest\n"),
        ("m.json", '{"labels": {"glass": 0, "tumour": 1, "tumour": 2}}'),
    ],
)
def test_an_entry_that_is_written_twice_is_a_mistake(tmp_path, name, text):
    """The last one would be kept, and a code be another class."""
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=rf"{name} cannot be read: '(1|tumour)' is written twice"):
        read(tmp_path / name)
