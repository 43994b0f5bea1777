"""Predictions as they are handed in."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from benchbcss.runs.external import reading

PALETTES = ([0, 0, 0, 255, 0, 0], [255, 0, 0, 0, 0, 0])


def indexed(path, palette):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.zeros((6, 8), np.uint8)).convert("P")
    image.putdata([0, 1] * 24)
    image.putpalette(palette)
    image.save(path)


@pytest.mark.parametrize("packed", [False, True])
def test_palettes_that_disagree_are_seen(tmp_path, packed):
    """A program that colours label maps numbers the colours of each file anew."""
    for palettes, said in (
        (PALETTES, "0 is #000000 in r0.png and #ff0000 in r1.png"),
        ([PALETTES[0]] * 2, ""),
    ):
        for index, palette in enumerate(palettes):
            indexed(tmp_path / "p" / f"r{index}.png", palette)
        path = tmp_path / "p"
        if packed:
            path = tmp_path / "p.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for file in (tmp_path / "p").iterdir():
                    archive.write(file, file.name)
        with reading.opened(path) as source:
            for (candidate,) in source.of(["r0.png", "r1.png"]).values():
                assert set(np.unique(source.values(candidate, (6, 8), None))) == {0, 1}
            assert source.palettes.disagreement.startswith(said)
            assert bool(source.palettes.disagreement) == bool(said)


def test_label_maps_behind_a_link_to_a_folder(tmp_path):
    indexed(tmp_path / "disk" / "r0.png", PALETTES[0])
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "fold_0").symlink_to(tmp_path / "disk")
    with reading.opened(tmp_path / "p") as source:
        assert [str(c.path) for c in source.of(["r0.png"])["r0.png"]] == ["fold_0/r0.png"]
