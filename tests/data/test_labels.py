import numpy as np
import pytest

from benchbcss.data.labels import (
    build_label_map,
    label_map,
    label_map_names,
    official_codes,
    read_code_table,
)
from benchbcss.errors import DataError, SuiteError, UnknownNameError

# The expected class of every code, written out by number from the protocol.
EXPECTED = {
    "bcss5": (
        {
            "tumor": {1},
            "stroma": {2},
            "lymphocyte": {3},
            "necrosis": {4},
            "blood_vessel": {18},
            "other": {5, 6, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20, 21},
        },
        {0, 7, 15},
    ),
    "amgad5": (
        {
            "tumor": {1, 19, 20},
            "stroma": {2},
            "inflammatory": {3, 10, 11},
            "necrosis": {4},
            "other": {5, 6, 8, 9, 12, 13, 14, 16, 17, 18, 21},
        },
        {0, 7, 15},
    ),
    "tumor_binary": (
        {"tumor": {1, 19, 20}, "not_tumor": set(range(22)) - {0, 1, 7, 15, 19, 20}},
        {0, 7, 15},
    ),
    "brief9": (
        {
            "tumor": {1},
            "stroma": {2},
            "lymphocyte": {3},
            "necrosis": {4},
            "blood_vessel": {9},
            "other": set(range(22)) - {1, 2, 3, 4, 9},
        },
        set(),
    ),
    "brief5": (
        {
            "tumor": {1},
            "stroma": {2},
            "lymphocyte": {3},
            "necrosis": {4},
            "blood_vessel": {5},
            "other": set(range(22)) - {1, 2, 3, 4, 5},
        },
        set(),
    ),
}
MEAN = {
    "bcss5": ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel"),
    "amgad5": ("tumor", "stroma", "inflammatory", "necrosis", "other"),
    "tumor_binary": ("tumor",),
}


def test_the_official_table():
    codes = official_codes()
    assert sorted(codes.values()) == list(range(22))
    assert codes["fat"] == 9
    assert codes["blood_vessel"] == 18
    assert codes["glandular_secretions"] == 5


@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("code", range(22))
def test_every_code_of_every_map(name, code):
    classes, ignored = EXPECTED[name]
    labels = label_map(name)
    label = int(labels.lookup[code])
    if code in ignored:
        assert label == 255
    else:
        assert code in classes[labels.class_names[label]]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_codes_that_do_not_exist_are_unknown(name):
    assert (label_map(name).lookup[22:] == 254).all()


def test_what_counts_in_the_mean():
    for name, mean in MEAN.items():
        labels = label_map(name)
        assert labels.mean == mean
        assert [labels.class_names[i] for i in labels.mean_classes] == list(mean)


def test_audit_maps_are_never_ranked_and_say_why():
    assert "fat" in label_map("brief9").not_ranked
    assert "secretions" in label_map("brief5").not_ranked
    assert label_map("bcss5").not_ranked is None


def test_fingerprints_tell_maps_apart():
    assert len({label_map(name).fingerprint() for name in label_map_names()}) == 5
    assert label_map("bcss5").fingerprint() == label_map("bcss5", official_codes()).fingerprint()


def test_a_table_that_disagrees_is_refused_by_code():
    table = dict(official_codes())
    table["blood_vessel"], table["fat"] = table["fat"], table["blood_vessel"]
    with pytest.raises(DataError, match=r"code (9|18) is '(fat|blood_vessel)'"):
        label_map("bcss5", table)


def test_a_misspelt_map():
    with pytest.raises(UnknownNameError, match="Did you mean 'bcss5'"):
        label_map("bcs5")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"classes": {"a": ["x"], "b": ["x", "y"]}}, "code 1 is in both 'a' and 'b'"),
        ({"classes": {"a": ["x"]}}, r"says nothing about code 2 \('y'\)"),
        ({"classes": {"a": ["x", "z"]}, "ignore": ["y"]}, "no code named 'z'"),
        ({"classes": {"a": ["x"]}, "ignore": ["y"], "mean": ["q"]}, "'q' in 'mean'"),
        ({"classes": {"a": ["x", 70000]}, "ignore": ["y"]}, "70000 is outside"),
    ],
)
def test_a_map_of_ones_own_is_checked(raw, message):
    with pytest.raises(SuiteError, match=message):
        build_label_map("own", raw, {"x": 1, "y": 2})


@pytest.mark.parametrize(
    "text",
    [
        "name\tcode\na\t1\n",
        "label\tGT_code\na\tone\n",
        "label\tGT_code\na\t1\nb\t1\n",
        "label\tGT_code\na\t70000\n",
    ],
)
def test_a_broken_code_table_names_the_file(tmp_path, text):
    path = tmp_path / "gtruth_codes.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match="gtruth_codes"):
        read_code_table(path)


def test_lookup_maps_whole_arrays():
    labels = label_map("bcss5")
    codes = np.array([[1, 18, 0], [9, 7, 2]], np.uint8)
    assert labels.lookup[codes].tolist() == [[0, 4, 255], [5, 255, 1]]


def test_one_number_means_ignored():
    """Nothing defines it but the contract."""
    import re
    from pathlib import Path

    import benchbcss
    from benchbcss.contract import IGNORE

    root = Path(benchbcss.__file__).parent
    definition = re.compile(r"^\s*_?IGNORE\w*\s*(:.*)?=\s*\d", re.MULTILINE)
    places = [p.relative_to(root) for p in root.rglob("*.py") if definition.search(p.read_text())]
    assert [str(place) for place in places] == ["contract.py"]
    assert (label_map("bcss5").lookup[[0, 7, 15]] == IGNORE).all()
