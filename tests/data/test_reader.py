"""Which reader a folder needs, and what every reader must keep."""

import numpy as np
import pytest
from PIL import Image
from tests_support import write_folder

from benchbcss import registry
from benchbcss.data import reader as readers
from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.reader import Reading, Source, detect, matched, open_reader
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError, UnknownNameError
from benchbcss.kinds import READER


def test_bcss_is_detected_and_everything_else_is_not(folder, tmp_path):
    assert detect(folder) == "bcss"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"not laid out as any reader expects\. bcss: masks/"):
        detect(tmp_path / "other")
    with pytest.raises(DataError, match="does not exist"):
        open_reader(tmp_path / "none", Reading())
    with pytest.raises(DataError, match="does not exist"):
        open_reader(tmp_path / "none", Reading(reader="bcss"))


def test_a_named_reader_is_taken_and_a_misspelt_one_guessed(folder):
    assert type(open_reader(folder, Reading(reader="folders"))).__name__ == "FolderReader"
    with pytest.raises(UnknownNameError, match="Did you mean 'folders'"):
        open_reader(folder, Reading(reader="folder"))


def test_both_readers_read_a_bcss_folder_alike(folder, tmp_path):
    store = TileStore(tmp_path / "store")
    one, other = (Dataset(folder, store, Reading(reader=name)) for name in readers.known_readers())
    assert one.names == other.names
    for name in one.names:
        assert (one.roi(name).codes() == other.roi(name).codes()).all()
        assert (one.roi(name).image() == other.roi(name).image()).all()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, None),
        (r"P\d+", "P07"),
        (r"P(\d+)", "07"),
        (r"(?P<site>[a-z]+)/(?P<patient>P\d+)", "P07"),
        (r"Q\d+", None),
    ],
)
def test_patterns(pattern, expected):
    assert matched(pattern, "north/P07_a.png", "patient") == expected


class OneFile:
    """A stranger's layout: all ROIs in one .npz."""

    wants = "an atlas.npz"
    colour_normalised = False

    def __init__(self, folder, reading):
        self.path = folder / "atlas.npz"
        with np.load(self.path) as atlas:
            self.ids = tuple(sorted(f"{name}.png" for name in atlas))

    @classmethod
    def detect(cls, folder):
        return (folder / "atlas.npz").is_file()

    def source(self, roi):
        return Source(self.path, self.path, roi, roi)

    def codes(self, roi):
        with np.load(self.path) as atlas:
            return atlas[roi.removesuffix(".png")]

    def image(self, roi):
        return np.repeat(self.codes(roi)[..., None] * 9, 3, axis=2)

    def patient(self, roi):
        return roi[0]

    def site(self, roi):
        return None

    def code_table(self):
        return None


@pytest.fixture
def stranger():
    """Registers readers of this module, by a plugin that is gone afterwards."""
    source = registry.Source("stranger", "their-dist", "1")
    known = registry.load().readers

    def register(name, target):
        known.add(READER.entry(source, name, f"{__name__}:{target}"))

    yield register
    known.drop(source)


class Raising:
    @classmethod
    def detect(cls, folder):
        raise KeyError("theirs")


def test_a_reader_that_raises_hides_no_other(tmp_path, stranger, capsys):
    stranger("raising", "Raising")
    stranger("gone", "NoSuchClass")
    pair = np.zeros((8, 9), np.uint8)
    Image.fromarray(pair).save(tmp_path / "a.png")
    Image.fromarray(pair).save(tmp_path / "a_mask.png")
    assert readers.detect(tmp_path) == "folders"
    said = capsys.readouterr().err
    who = "(plugin 'stranger' of their-dist 1)"
    assert f"warning: the reader 'raising' {who} raised KeyError: 'theirs' (" in said
    assert f"warning: the reader 'gone' {who} raised Reader 'gone' {who} cannot be imported" in said


def test_a_strangers_reader(tmp_path, stranger):
    stranger("atlas", "OneFile")
    rng = np.random.default_rng(0)
    masks = {name: rng.choice([0, 1, 2], (8, 9)).astype(np.uint8) for name in ("a1", "a2", "b1")}
    np.savez(tmp_path / "atlas.npz", **masks)
    source = Dataset(tmp_path, TileStore(tmp_path / "store"))
    rois = source.rois(source.names, label_map("bcss5"))
    assert {name: roi.codes().tolist() for name, roi in rois.items()} == {
        f"{name}.png": mask.tolist() for name, mask in masks.items()
    }
    (tmp_path / "s.csv").write_text("filename,split\na1,train\na2,test\n")
    assert "in both train and test: a" in source.split(str(tmp_path / "s.csv")).leakage().errors[0]


def test_a_dataset_without_tcga_names_has_no_patients(folder):
    reader = open_reader(folder, Reading())
    assert {reader.patient(name) for name in reader.ids} == {None}
    reader = open_reader(folder, Reading(patient_pattern=r"^(roi\d)"))
    assert reader.patient("roi3.png") == "roi3"


def test_tcga_names_have_patients_and_sites(tmp_path):
    name = "TCGA-A2-A0YE-DX1_xmin1_ymin2_MPP-0.2500.png"
    reader = open_reader(write_folder(tmp_path / "d", {name: np.ones((4, 4))}), Reading())
    assert (reader.patient(name), reader.site(name)) == ("TCGA-A2-A0YE", "A2")
