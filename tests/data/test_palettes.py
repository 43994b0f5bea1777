"""Masks with a palette, in which an index may be a code or a place in a list of colours."""

import numpy as np
import pytest
from PIL import Image

from benchbcss.data.dataset import Dataset
from benchbcss.data.palettes import colours, disagreement, palette_of
from benchbcss.data.prepare import look, write
from benchbcss.data.reader import Reading
from benchbcss.data.store import TileStore
from benchbcss.errors import DataError
from benchbcss.suites import load_suite

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def indexed(path, indices, palette):
    image = Image.fromarray(np.asarray(indices, np.uint8), "L").convert("P")
    image.putdata(np.asarray(indices, np.uint8).ravel().tolist())
    image.putpalette([value for colour in palette for value in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def test_an_index_of_two_colours_is_seen_where_it_is_used(tmp_path):
    one = indexed(tmp_path / "a.png", [[0, 1]], [BLACK, RED, GREEN])
    two = indexed(tmp_path / "b.png", [[0, 1]], [BLACK, GREEN, RED])
    first, second = (palette_of(path, lambda: [0, 1]) for path in (one, two))
    assert first == {0: "000000", 1: "ff0000"}
    assert disagreement({one: first}) == ""
    assert disagreement({one: first, two: {0: second[0]}}) == ""
    assert f"1 is #ff0000 in {one} and #00ff00 in {two}" in disagreement({one: first, two: second})
    grey = tmp_path / "grey.png"
    Image.fromarray(np.ones((1, 2), np.uint8)).save(grey)
    (tmp_path / "n.png").write_bytes(b"no picture")
    for path in (grey, tmp_path / "n.png", tmp_path / "none.png"):
        assert palette_of(path, lambda: [1]) == {}


def test_masks_with_and_without_a_palette_are_one_set_of_colours(tmp_path):
    one = indexed(tmp_path / "a.png", [[0, 1]], [BLACK, RED])
    assert colours([one]) == {}
    assert colours([one], indexed=True) == {BLACK: 0, RED: 1}
    Image.fromarray(np.array([[GREEN, GREEN]], np.uint8)).save(tmp_path / "b.png")
    assert set(colours([one, tmp_path / "b.png"])) == {BLACK, RED, GREEN}


@pytest.fixture
def renumbered(tmp_path):
    """Six masks of three classes, each with the colours numbered as they occur in it."""
    rng = np.random.default_rng(0)
    truth = {}
    for index in range(6):
        codes = rng.integers(0, 3, (40, 44))
        order = rng.permutation(3) if index else np.array([0, 1, 2])
        palette = [(BLACK, RED, GREEN)[code] for code in order]
        indexed(tmp_path / "d" / "masks" / f"r{index}.png", np.argsort(order)[codes], palette)
        rgb = rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)
        (tmp_path / "d" / "images").mkdir(exist_ok=True)
        Image.fromarray(rgb).save(tmp_path / "d" / "images" / f"r{index}.png")
        truth[f"r{index}.png"] = codes
    return tmp_path, truth


def test_prepare_asks_whether_numbers_or_colours_count(renumbered):
    tmp_path, truth = renumbered
    folder, store = tmp_path / "d", TileStore(tmp_path / "s")
    with pytest.raises(DataError, match="palettes of the masks disagree.*--classes FILE"):
        look(folder, store, Reading())
    classes = tmp_path / "classes.csv"
    classes.write_text("colour,class\n#000000,glass\n#ff0000,gland\n#00ff00,stroma\n")
    proposal = look(folder, store, Reading(), classes)
    suite, _ = load_suite(write(proposal, folder, folder / "own.yaml")[0])
    labels, source = suite.labels(), Dataset(folder, store, suite.reading())
    assert labels.class_names == ("glass", "gland", "stroma")
    for name, codes in truth.items():
        assert (source.roi(name).target(labels) == codes).all()
    classes.write_text("value,class\n0,glass\n1,gland\n2,stroma\n")
    assert not look(folder, store, Reading(), classes).reading.colours


def test_a_run_is_told_of_palettes_that_disagree(renumbered):
    tmp_path, truth = renumbered
    source = Dataset(tmp_path / "d", TileStore(tmp_path / "s"))
    rois = {name: source.roi(name) for name in truth}
    assert "give the suite a table" in " ".join(source.doubts(rois, 0.3, bcss_codes=False))
    told = Reading(colours={BLACK: 0, RED: 1, GREEN: 2})
    source = Dataset(tmp_path / "d", source.store, told)
    rois = {name: source.roi(name) for name in truth}
    assert "palette" not in " ".join(source.doubts(rois, 0.3, bcss_codes=False))
