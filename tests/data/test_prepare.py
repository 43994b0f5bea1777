"""A folder that was never described becomes a suite that validates."""

import csv

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.dataset import Dataset
from benchbcss.data.prepare import look, propose_split, suite_name, suite_text, write
from benchbcss.data.reader import Reading
from benchbcss.data.splits import Split, built_in_split
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError, InputError
from benchbcss.suites import load_suite, mistakes

RNG = np.random.default_rng(0)


def glas(root, values=(0, 255), patients=4, each=2):
    """TIFF pairs in one folder, as GlaS names them."""
    root.mkdir(parents=True, exist_ok=True)
    masks = {}
    for patient in range(patients):
        for index in range(each):
            name = f"P{patient}_{index}"
            masks[name] = RNG.choice(values, (70, 64)).astype(np.uint8)
            rgb = RNG.integers(0, 256, (70, 64, 3), dtype=np.uint8)
            Image.fromarray(rgb).save(root / f"{name}.tif")
            Image.fromarray(masks[name]).save(root / f"{name}_anno.tif")
    return masks


def prepared(root, tmp_path, **reading):
    proposal = look(root, TileStore(tmp_path / "store"), Reading(**reading))
    return proposal, *write(proposal, root, root / f"{suite_name(root)}.yaml")


def test_the_suite_fits_its_folder(tmp_path):
    masks = glas(tmp_path / "My GlaS")
    proposal, path, table = prepared(tmp_path / "My GlaS", tmp_path, patient_pattern=r"^(P\d)")
    assert path.name == "my-glas.yaml"
    assert mistakes(path) == []
    suite, _ = load_suite(path)
    labels = suite.labels()
    assert labels.class_names == ("background", "foreground")
    assert suite.tile.size <= 64
    source = Dataset(tmp_path / "My GlaS", TileStore(tmp_path / "store"), suite.reading())
    rois = source.rois(source.names, labels)
    for name, mask in masks.items():
        assert (rois[f"{name}.png"].target(labels) == (mask == 255)).all()
    counts = {code: sum(int((mask == code).sum()) for mask in masks.values()) for code in (0, 255)}
    assert proposal.pixels == counts
    assert f"{counts[255]:,} px" in path.read_text()
    split = source.split(str(table))
    assert not split.leakage().errors
    assert split.leakage().patients_unknown == 0
    assert all((split.train, split.val, split.test))


def test_what_is_not_known_is_said(tmp_path):
    glas(tmp_path / "d")
    proposal, path, table = prepared(tmp_path / "d", tmp_path)
    (note,) = proposal.notes
    assert "patients are unknown for 8 of 8 ROIs" in note
    text = path.read_text()
    assert note in text
    for unknown in ("mpp: 0.30  # not known", "What the codes mean is not known"):
        assert unknown in text
    with open(table, newline="") as handle:
        assert {row["patient"] for row in csv.DictReader(handle)} == {""}


def test_colour_coded_masks_get_a_table(tmp_path):
    glas(tmp_path / "d", (0, 1, 2))
    colours = np.array([[0, 0, 0], [255, 0, 0], [250, 240, 255]], np.uint8)
    for path in (tmp_path / "d").glob("*_anno.tif"):
        Image.fromarray(colours[np.asarray(Image.open(path))]).save(path)
    proposal, path, _ = prepared(tmp_path / "d", tmp_path)
    assert mistakes(path) == []
    suite, _ = load_suite(path)
    assert suite.reading().colours == {(0, 0, 0): 0, (255, 0, 0): 1, (250, 240, 255): 2}
    source = Dataset(tmp_path / "d", TileStore(tmp_path / "s2"), suite.reading())
    assert source.rois(source.names, suite.labels()).keys() == proposal.rois.keys()


def test_smooth_colours_are_not_codes(tmp_path):
    glas(tmp_path / "d")
    rgb = RNG.integers(0, 256, (70, 64, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "d" / "P0_0_anno.tif")
    with pytest.raises(DataError, match="more than 64 colours"):
        look(tmp_path / "d", TileStore(tmp_path / "store"), Reading())


def test_bcss_keeps_its_label_map(phantom, tmp_path):
    proposal = look(phantom, TileStore(tmp_path / "store"), Reading())
    path = tmp_path / "own.yaml"
    path.write_text(suite_text(proposal, phantom, "splits.csv"))
    assert mistakes(path) == []
    assert load_suite(path)[0].label_map == "bcss5"


def test_bcss_layout_with_codes_of_ones_own_is_not_taken_for_bcss(folder, tmp_path):
    proposal = look(folder, TileStore(tmp_path / "store"), Reading())
    assert not proposal.official
    assert "class_18: 18" in suite_text(proposal, folder, "x.csv")


def test_nothing_is_overwritten(tmp_path):
    glas(tmp_path / "d")
    proposal, path, _ = prepared(tmp_path / "d", tmp_path)
    with pytest.raises(InputError, match="exists already and is left as it is"):
        write(proposal, tmp_path / "d", path)
    path.unlink()
    with pytest.raises(InputError, match=r"splits\.csv exists already.*--output FILE"):
        write(proposal, tmp_path / "d", path)
    advised, beside = write(proposal, tmp_path / "d", tmp_path / "d" / "other.yaml")
    assert load_suite(advised)[0].split == beside.name == "other-splits.csv"
    other, beside = write(proposal, tmp_path / "d", tmp_path / "out" / "x.yaml")
    assert load_suite(other)[0].split == str(beside.resolve())


@pytest.mark.parametrize("sizes", [(10, 1, 1), (1, 1, 1), (3, 1), (2, 5, 2, 8, 3), (1,) * 20])
def test_patients_stay_together_and_no_part_is_empty(tmp_path, sizes):
    root = tmp_path / "d"
    for patient, count in enumerate(sizes):
        for index in range(count):
            for end, array in (("", (9, 8, 3)), ("_mask", (9, 8))):
                values = RNG.integers(0, 2, array, dtype=np.uint8)
                root.mkdir(exist_ok=True)
                Image.fromarray(values).save(root / f"P{patient:02d}_{index}{end}.png")
    source = Dataset(root, TileStore(tmp_path / "s"), Reading(patient_pattern=r"P\d+"))
    rois = {name: source.roi(name) for name in source.names}
    patients = {name: name[:3] for name in rois}
    parts = propose_split(rois, patients)
    assert parts == propose_split(dict(reversed(rois.items())), patients)
    assert parts.keys() == rois.keys()
    by_part = {
        part: tuple(name for name in rois if parts[name] == part) for part in set(parts.values())
    }
    assert set(by_part) == ({"train", "val", "test"} if len(sizes) > 2 else {"train", "test"})
    split = Split("x", by_part["train"], by_part.get("val", ()), by_part["test"], patients=patients)
    assert split.leakage().errors == ()


def test_identical_images_stay_together(tmp_path):
    glas(tmp_path / "d", patients=5, each=1)
    for name in ("P1_0", "P3_0"):
        (tmp_path / "d" / f"{name}.tif").write_bytes((tmp_path / "d" / "P0_0.tif").read_bytes())
    proposal, *_ = prepared(tmp_path / "d", tmp_path)
    assert len({proposal.parts[f"P{patient}_0.png"] for patient in (0, 1, 3)}) == 1


def test_one_patient_cannot_be_split(tmp_path):
    glas(tmp_path / "d", patients=1, each=4)
    with pytest.raises(DataError, match="of one patient"):
        look(tmp_path / "d", TileStore(tmp_path / "store"), Reading(patient_pattern=r"P\d"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("own.txt", "not named as a suite file. Pass --output NAME.yaml"),
        ("splits.csv", "not named as a suite file"),
        ("a:b.yaml", "cannot be called 'a:b': it holds ':'"),
        ("con.yaml", "operating systems keep that name"),
        (".yaml", "cannot be called '.yaml'"),
    ],
)
def test_a_suite_that_could_not_be_called_so_is_not_written(tmp_path, output, message):
    glas(tmp_path / "d")
    proposal = look(tmp_path / "d", TileStore(tmp_path / "store"), Reading())
    with pytest.raises(InputError, match=message):
        write(proposal, tmp_path / "d", tmp_path / "d" / output)
    assert not list((tmp_path / "d").glob("*splits.csv"))


def test_the_name_that_a_suite_gets_is_one(tmp_path):
    for folder, name in (
        ("con", "own"),
        ("x" * 200, "x" * 50),
        ("~", "own"),
        ("My GlaS", "my-glas"),
    ):
        assert suite_name(tmp_path / folder) == name


def test_names_beyond_sixteen_bits_are_written_as_they_are(tmp_path):
    for kind, shape in (("bilder\N{MICROSCOPE}", (40, 40, 3)), ("gt\N{MICROSCOPE}", (40, 40))):
        (tmp_path / "d\N{MICROSCOPE}" / kind).mkdir(parents=True)
        for index in range(3):
            values = RNG.integers(0, 2, shape, dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "d\N{MICROSCOPE}" / kind / f"a{index}.tif")
    folder = tmp_path / "d\N{MICROSCOPE}"
    proposal = look(
        folder,
        TileStore(tmp_path / "s"),
        Reading(images="bilder\N{MICROSCOPE}", masks="gt\N{MICROSCOPE}"),
    )
    (tmp_path / "o\N{MICROSCOPE}").mkdir()
    path, table = write(proposal, folder, tmp_path / "o\N{MICROSCOPE}" / "own.yaml")
    suite, _ = load_suite(path)
    assert suite.split == str(table)
    assert len(Dataset(folder, TileStore(tmp_path / "s"), suite.reading()).split(suite.split).test)


def test_pictures_of_no_roi_are_counted(tmp_path):
    """``images`` comes before ``test_images``: what is passed over is said."""
    for folder, shape in (("images", (40, 40, 3)), ("masks", (40, 40))):
        for place in (folder, f"test_{folder}"):
            (tmp_path / "d" / place).mkdir(parents=True, exist_ok=True)
            for index in range(3):
                values = RNG.integers(0, 2, shape, dtype=np.uint8)
                Image.fromarray(values).save(tmp_path / "d" / place / f"{place[:2]}{index}.tif")
    for index in range(3):  # equal stems in each
        for place in ("masks", "test_masks"):
            path = tmp_path / "d" / place / f"{place[:2]}{index}.tif"
            path.rename(path.with_name(f"{place.replace('masks', 'images')[:2]}{index}.tif"))
    proposal = look(tmp_path / "d", TileStore(tmp_path / "s"), Reading())
    assert len(proposal.rois) == 3
    assert "6 picture(s) are of no ROI and left out, in: test_images, test_masks" in " ".join(
        proposal.notes
    )


def test_barcodes_alone_do_not_make_bcss(phantom, tmp_path):
    """Other data sets of TCGA have other codes."""
    for kind in ("images", "masks"):
        (tmp_path / "d" / kind).mkdir(parents=True)
        for path in (phantom / kind).iterdir():
            (tmp_path / "d" / kind / path.name).write_bytes(path.read_bytes())
    store = TileStore(tmp_path / "s")
    assert not look(tmp_path / "d", store, Reading()).official
    names = list(built_in_split("brief"))
    for kind in ("images", "masks"):
        for path, name in zip(sorted((tmp_path / "d" / kind).iterdir()), names, strict=False):
            path.rename(path.with_name(name.replace("0.2500", "1.0000")))
    assert look(tmp_path / "d", store, Reading()).official


def test_classes_that_make_no_suite_are_refused_and_nothing_is_left(tmp_path):
    glas(tmp_path / "d", (0, 1))
    (tmp_path / "classes.csv").write_text("value,class\n0,Gland\n1,gland\n")
    store = TileStore(tmp_path / "store")
    proposal = look(tmp_path / "d", store, Reading(), tmp_path / "classes.csv")
    with pytest.raises(InputError, match="No suite can be written of this: .*'Gland' and 'gland'"):
        write(proposal, tmp_path / "d", tmp_path / "d" / "own.yaml")
    assert not list((tmp_path / "d").glob("*.[yc]*"))


def test_a_patient_in_other_capitals_stays_together(tmp_path):
    glas(tmp_path / "d", patients=3, each=1)
    proposal = look(tmp_path / "d", TileStore(tmp_path / "store"), Reading())
    patients = {"P0_0.png": "müller", "P1_0.png": "MÜLLER", "P2_0.png": "x"}
    parts = propose_split(proposal.rois, patients)
    assert parts["P0_0.png"] == parts["P1_0.png"] != parts["P2_0.png"]


def test_a_scale_that_images_say_is_proposed(tmp_path):
    glas(tmp_path / "d")
    for path in (tmp_path / "d").glob("P?_?.tif"):
        Image.open(path).save(path, resolution=40_000, resolution_unit=3)
    _, path, _ = prepared(tmp_path / "d", tmp_path)
    assert load_suite(path)[0].mpp == 0.25
    assert "check it; sizes in um depend on it" in path.read_text()


def test_parts_in_names_without_training_are_not_kept_in_silence(tmp_path):
    glas(tmp_path / "d", patients=6, each=1)
    for path in (tmp_path / "d").iterdir():
        part = "val" if path.name < "P3" else "test"
        path.rename(path.with_name(f"{part}_{path.name}"))
    proposal = look(tmp_path / "d", TileStore(tmp_path / "store"), Reading())
    assert set(proposal.parts.values()) == {"train", "val", "test"}
    assert "nothing to train on, so they are not kept" in " ".join(proposal.notes)
