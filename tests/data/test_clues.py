"""What names, tables and descriptions of a folder say, and what they do not."""

import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchbcss.data import clues
from benchbcss.data.dataset import Dataset
from benchbcss.data.prepare import look, write
from benchbcss.data.reader import Reading
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError
from benchbcss.suites import load_suite, mistakes

RNG = np.random.default_rng(0)


def pair(root, name, mask, image=None, mask_name=None):
    image, mask_name = image or f"images/{name}.png", mask_name or f"masks/{name}.png"
    for path in (root / image, root / mask_name):
        path.parent.mkdir(parents=True, exist_ok=True)
    rgb = RNG.integers(0, 256, (*mask.shape[:2], 3), dtype=np.uint8)
    Image.fromarray(rgb).save(root / image)
    Image.fromarray(mask).save(root / mask_name)


def objects(count, shape=(60, 70), kind=np.uint8, first=1):
    """``count`` discs, numbered."""
    places = RNG.permutation(np.arange(35))[:count]
    mask = Image.new("I", shape[::-1])
    for number, place in enumerate(places, start=first):
        x, y = place % 7 * 10 + 5, place // 7 * 12 + 6
        ImageDraw.Draw(mask).ellipse([x - 3, y - 3, x + 3, y + 3], fill=number)
    return np.asarray(mask).astype(kind)


def proposed(root, tmp_path, classes=None, **reading):
    proposal = look(root, TileStore(tmp_path / "store"), Reading(**reading), classes)
    path, _ = write(proposal, root, root / "own.yaml")
    assert mistakes(path) == []
    return proposal, load_suite(path)[0]


@pytest.mark.parametrize(
    ("kind", "first"), [(np.uint8, 1), (np.uint16, 1), (np.uint16, 100)], ids=str
)
def test_masks_that_number_objects_become_two_classes(tmp_path, kind, first):
    """GlaS numbers glands 1..k in each image; nuclei sets number on through all of them."""
    truth = {}
    for index in range(14):
        start = 1 if first == 1 else first + 25 * index
        truth[f"a{index}.png"] = objects(5 + index % 6 if first == 1 else 25, (60, 70), kind, start)
        pair(tmp_path / "d", f"a{index}", truth[f"a{index}.png"])
    proposal, suite = proposed(tmp_path / "d", tmp_path)
    assert proposal.pixels.keys() == {0, 1}
    assert "number objects" in " ".join(proposal.notes)
    labels = suite.labels()
    assert (labels.class_names, labels.mean) == (("background", "foreground"), ("foreground",))
    source = Dataset(tmp_path / "d", TileStore(tmp_path / "s"), suite.reading())
    for name, mask in truth.items():
        assert (source.roi(name).target(labels) == (mask > 0)).all()


def test_classes_are_not_taken_for_objects(tmp_path):
    """Five classes in many pieces, and five in one piece each of which some ROIs lack some."""
    for index in range(6):
        scattered = RNG.integers(0, 6, (20, 30), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
        bands = np.repeat(RNG.permutation([0, 1, 3, 4, 5]).astype(np.uint8), 8)
        pair(tmp_path / "scattered", f"a{index}", scattered)
        pair(tmp_path / "bands", f"a{index}", np.tile(bands, (40, 1)))
    for folder in ("scattered", "bands"):
        proposal, suite = proposed(tmp_path / folder, tmp_path)
        assert suite.files is None
        assert len(proposal.pixels) > 4


def test_many_values_that_are_no_objects_are_refused(tmp_path):
    for index in range(3):
        pair(tmp_path, f"a{index}", RNG.integers(0, 400, (60, 70)).astype(np.uint16))
    with pytest.raises(DataError, match="at most 254 classes fit.*nearest neighbour"):
        look(tmp_path, TileStore(tmp_path / "store"), Reading())


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        (["train/images/a.png", "test/images/b.png"], "train test"),
        (["images/training/a.png", "images/validation/b.png"], "train val"),
        (["train_images/a.png", "Test images/b.png"], "train test"),
        (["imagesTr/a.png", "imagesTs/b.png"], "train test"),
        (["train_1.bmp", "testA_1.bmp"], "train test"),
        (["test-12.png", "val.12.png"], "test val"),
        (["trainer_1.png", "testis_1.png"], ""),
        (["train/a.png", "b.png"], ""),
        (["train/a.png", "train/b.png"], ""),
        (["TCGA-A1.png", "test.png"], ""),
    ],
)
def test_parts_in_names(paths, parts):
    named = clues.named_parts({path: PurePosixPath(path) for path in paths})
    assert named == dict(zip(paths, parts.split(), strict=bool(parts)))


def test_the_folders_own_parts_are_kept_unless_a_patient_is_in_two(tmp_path):
    for part, count in (("train", 6), ("test", 3)):
        for index in range(count):
            mask = RNG.integers(0, 2, (40, 40), dtype=np.uint8)
            base = f"{part}/{{}}/{part[:2]}{index}.png"
            pair(tmp_path / "d", "", mask, base.format("images"), base.format("masks"))
    proposal = look(tmp_path / "d", TileStore(tmp_path / "s"), Reading())
    by_part = {
        p: [n for n, q in proposal.parts.items() if q == p] for p in ("train", "val", "test")
    }
    assert by_part["test"] == ["te0.png", "te1.png", "te2.png"]
    assert len(by_part["val"]) == 1
    assert {name[:2] for name in by_part["val"] + by_part["train"]} == {"tr"}
    rows = [f"tr{i}.png,p{i}" for i in range(6)] + [f"te{i}.png,p{i}" for i in range(3)]
    (tmp_path / "d" / "who.csv").write_text("file;Patient ID\n" + "\n".join(rows).replace(",", ";"))
    proposal = look(tmp_path / "d", TileStore(tmp_path / "s"), Reading())
    assert proposal.patients["te2.png"] == proposal.patients["tr2.png"] == "p2"
    assert proposal.parts["te2.png"] == proposal.parts["tr2.png"]
    assert "not kept" in " ".join(proposal.notes)


def test_a_table_without_every_roi_says_nothing_of_patients(tmp_path):
    for index in range(3):
        pair(tmp_path, f"a{index}", RNG.integers(0, 2, (40, 40), dtype=np.uint8))
    (tmp_path / "who.csv").write_text("name,patient\na0,1\na1,2\n")
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfa,,")
    proposal = look(tmp_path, TileStore(tmp_path / "s"), Reading())
    assert proposal.patients == {}
    assert "patients are unknown for 3 of 3" in " ".join(proposal.notes)


def test_nnunets_dataset_json_names_the_classes(tmp_path):
    for index in range(6):
        mask = RNG.integers(0, 4, (40, 44), dtype=np.uint8)
        names = (f"imagesTr/c{index}_0000.png", f"labelsTr/c{index}.png")
        pair(tmp_path / "d", "", mask, *names)
    said = {"labels": {"background": 0, "tumor bed": 1, "no": 2, "ignore": 3}}
    (tmp_path / "d" / "dataset.json").write_text(json.dumps(said))
    _, suite = proposed(tmp_path / "d", tmp_path)
    labels = suite.labels()
    assert labels.classes == (("background", (0,)), ("tumor bed", (1,)), ("no", (2,)))
    assert labels.ignore == (3,)
    assert labels.mean == ("tumor bed", "no")


def test_a_file_names_colours_and_merges_codes(tmp_path):
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    for index in range(6):
        mask = RNG.integers(0, 4, (40, 44), dtype=np.uint8)
        pair(tmp_path / "codes", f"c{index}", mask)
        pair(tmp_path / "colours", f"c{index}", palette[mask])
    (tmp_path / "codes.csv").write_text("value,class\n0,\n1,gland\n2,gland\n3,stroma\n")
    (tmp_path / "colours.csv").write_text(
        "name,r,g,b\nvoid,0,0,0\ngland,255,0,0\ngland,0,255,0\nstroma,0,0,255\n"
    )
    targets = []
    for folder in ("codes", "colours"):
        _, suite = proposed(tmp_path / folder, tmp_path, tmp_path / f"{folder}.csv")
        labels = suite.labels()
        assert labels.class_names == ("gland", "stroma")
        source = Dataset(tmp_path / folder, TileStore(tmp_path / "s"), suite.reading())
        targets.append([source.roi(f"c{index}.png").target(labels) for index in range(6)])
    assert np.array_equal(*targets)
    (tmp_path / "short.csv").write_text("value,class\n1,gland\n")
    with pytest.raises(DataError, match="does not name the masks' values 0, 2, 3"):
        look(tmp_path / "codes", TileStore(tmp_path / "s"), Reading(), tmp_path / "short.csv")


def test_255_beside_numbered_classes_is_proposed_as_ignored(tmp_path):
    for index in range(4):
        pair(tmp_path / "d", f"c{index}", RNG.choice([0, 1, 2, 255], (40, 44)).astype(np.uint8))
    _, suite = proposed(tmp_path / "d", tmp_path)
    assert suite.labels().ignore == (255,)
    assert suite.labels().class_names == ("class_0", "class_1", "class_2")


def test_masks_of_one_value_are_pointed_out(tmp_path):
    for index in range(4):
        pair(tmp_path / "d", f"c{index}", np.full((40, 44), 7, np.uint8))
    proposal, suite = proposed(tmp_path / "d", tmp_path)
    assert "every mask is 7 throughout" in " ".join(proposal.notes)
    assert suite.labels().classes == (("class_7", (7,)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filename,case_id,patient_id\na0,c0,p\na1,c1,p\na2,c2,q\n", ["p", "p", "q"]),
        ("case,Subject\na0,p\na1,p\na2,q\n", ["p", "p", "q"]),
        ("name,patient\na0,p\na1,p\na2,q\na0,q\n", []),
        ("name,patient\na0,p\na1,p\na2,q\na0,p\n", ["p", "p", "q"]),
        ("name,patient\nx/a0,p\na1,p\na2,q\ny/a0,q\n", []),
    ],
    ids=["case before patient", "case is the name", "contradiction", "repeated", "two folders"],
)
def test_which_column_says_the_patient(tmp_path, text, expected):
    """A case may be a slide, and then no two ROIs would share a patient."""
    for index in range(3):
        pair(tmp_path, f"a{index}", RNG.integers(0, 2, (40, 40), dtype=np.uint8))
    (tmp_path / "who.csv").write_text(text)
    proposal = look(tmp_path, TileStore(tmp_path / "s"), Reading())
    assert [proposal.patients[name] for name in sorted(proposal.patients)] == expected
