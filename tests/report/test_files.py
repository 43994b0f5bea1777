import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from benchbcss.errors import InputError
from benchbcss.report import charts, files

pytest.importorskip("altair")


@pytest.fixture
def figure():
    cell = {"line": "tumor", "column": "stroma", "text": "97", "ink": charts.on_heat(0.97)}
    chart = charts.cells([{**cell, "fill": charts.heat(0.97)}], ["stroma"], ["tumor"])
    return charts.figure(chart, "a <b> & c", "a <b> & c: 97 per cent of tumor was called stroma.")


def test_a_file_needs_no_page(figure):
    """Well-formed, every colour a colour, with its words above it."""
    text = files.svg(figure, "Lines: true classes.")
    root = ElementTree.fromstring(text)
    assert "var(" not in text
    assert "color-mix" not in text
    words = " ".join(
        element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")
    )
    assert "a <b> & c" in words
    assert words.count("a <b>") == 1
    assert "97 per cent of tumor" in " ".join(words.split())
    assert "Lines: true classes." in " ".join(words.split())
    assert files.colours_of_page()["h10"] in text


def test_words_that_look_like_variables_stay():
    cell = {"line": "var(--x)", "column": "b", "text": "1", "fill": charts.INK, "ink": charts.INK}
    figure = charts.figure(charts.cells([cell], ["b"], ["var(--x)"]), "var(--title)", "all")
    text = files.svg(figure)
    assert ">var(--x)<" in text
    assert ">var(--title)<" in text


def test_as_a_picture(figure, tmp_path):
    files.save(figure, tmp_path / "chart.PNG")
    picture = Image.open(io.BytesIO((tmp_path / "chart.PNG").read_bytes())).convert("RGB")
    box = re.search(r'width="(\d+)" height="(\d+)"', files.svg(figure))
    assert picture.size == (3 * int(box[1]), 3 * int(box[2]))
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    dark = files.colours_of_page()["h10"]
    assert (255, 255, 255) in colours
    assert tuple(bytes.fromhex(dark[1:])) in colours


def test_another_ending_is_refused(figure, tmp_path):
    with pytest.raises(InputError, match=r"chart\.pdf: a chart is written as \.png or \.svg"):
        files.save(figure, tmp_path / "chart.pdf")
    assert not list(tmp_path.iterdir())


def test_every_variable_of_the_page_is_a_colour():
    colours = files.colours_of_page()
    assert {"text", "page", "accent", "none", "h0", "h10", "dp5", "dm1"} <= colours.keys()
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())


@pytest.mark.parametrize(
    ("first", "second", "share", "mix"),
    [
        ("#123456", "#ffffff", 1.0, "#123456"),
        ("#123456", "#fedcba", 0.0, "#fedcba"),
        ("#000000", "#ffffff", 0.5, "#636363"),  # what browsers show for color-mix(in oklab, ...)
    ],
)
def test_colours_mix_as_in_css(first, second, share, mix):
    assert files.mixed(first, second, share) == mix
