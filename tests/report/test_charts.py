"""Charts: readable in both themes, described in words, text untouched."""

import re
from xml.etree import ElementTree

import altair as alt
import pytest

from benchbcss.report import charts, ids

NAMES = ['lr=0.00012345 role="x"', "<b>bold</b> & more"]


@pytest.fixture
def figure():
    ids.restart()
    rows = [{"model": name, "low": 0.123456, "high": 0.6} for name in NAMES]
    base = alt.Chart(charts.data(rows)).encode(y=charts.models_axis(NAMES))
    bars = base.mark_rule(clip=True, color=charts.ACCENT)
    chart = bars.encode(x=charts.share_axis("low", "Dice"), x2="high:Q").properties(width=200)
    return charts.figure(chart, "A <title>", "What & how")


def texts(svg):
    root = ElementTree.fromstring(svg)
    return ["".join(one.itertext()) for one in root.iter() if one.tag.rpartition("}")[2] == "text"]


def test_a_chart_has_a_name_and_a_description(figure):
    root = ElementTree.fromstring(figure.svg)
    title, about = root[0], root[1]
    assert root.get("role") == "img"
    assert (root.get("aria-labelledby"), root.get("aria-describedby")) == (
        title.get("id"),
        about.get("id"),
    )
    assert (title.text, about.text) == ("A <title>", "What & how")


def test_text_of_data_is_as_it_was(figure):
    """Shortened numbers and left-out attributes are the drawing's alone."""
    assert set(NAMES) <= set(texts(figure.svg))


LONG = [f"foundation_of_a_rather_long_name_{i}" for i in range(3)]
#: Vega cuts a label by UTF-16 units, and its renderer ends at half a letter
PICTURES = [f"{'ab'[: i % 3]}{'🔬' * 30}" for i in range(2)]


@pytest.mark.parametrize("names", [LONG, PICTURES, ["模型" * 20, "模型" * 21]])
def test_long_labels_are_cut_and_told_apart(names):
    rows = [{"model": name, "low": 0.1, "high": 0.6} for name in names]
    base = alt.Chart(charts.data(rows)).encode(y=charts.models_axis(names))
    bars = base.mark_rule().encode(x=charts.share_axis("low", "Dice"), x2="high:Q")
    cell = {"fill": "red", "ink": "red", "text": "0.1"}
    cells = [{"line": a, "column": b, **cell} for a in names for b in names]
    for chart, times in ((bars, 1), (charts.cells(cells, names, names), 2)):
        labels = [text for text in texts(charts.figure(chart, "", "").svg) if "…" in text]
        assert len(labels) == times * len(names)
        assert len(set(labels)) == len(names)
        assert set(labels) == set(charts.short(names).values())


def test_cells_are_as_wide_as_their_text():
    names = [f"m{i}" for i in range(12)]
    cell = {"fill": "red", "ink": "red", "text": "+0.02*"}
    chart = charts.cells(
        [{"line": a, "column": b, **cell} for a in names for b in names], *[names] * 2
    )
    assert chart.width / 12 >= 6 * charts.CHARACTER


def test_every_tick_is_there(figure):
    ticks = [text for text in texts(figure.svg) if text[:1].isdigit()]
    assert ticks == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]


def test_every_colour_is_the_pages(figure):
    colours = re.findall(r' (?:fill|stroke)="([^"]*)"', figure.svg)
    assert colours
    assert all(colour == "none" or colour.startswith("var(--") for colour in colours)


def test_clip_paths_of_two_charts_do_not_meet(figure):
    (mine,) = re.findall(r'<clipPath id="([^"]*)"', figure.svg)
    assert f"url(#{mine})" in figure.svg
    assert mine.startswith("chart-1-")


def test_coordinates_are_short(figure):
    outside = re.sub(r">[^<]*<", "><", figure.svg)
    assert not re.search(r"\.\d{3}", outside)


@pytest.mark.parametrize(
    ("value", "fill"),
    [(0.0, "var(--h0)"), (0.46, "var(--h5)"), (1.0, "var(--h10)"), (None, "var(--none)")],
)
def test_heat(value, fill):
    assert charts.heat(value) == fill
    assert charts.on_heat(value) == (charts.SOFT if value is None else fill[:-1] + "t)")


def test_differences_have_a_side():
    assert charts.diverging(0.2, 0.2) == "var(--dp5)"
    assert charts.diverging(-0.1, 0.2) == "var(--dm2)"
    assert charts.diverging(0.001, 0.2) == charts.diverging(None, 0.2) == "var(--none)"
    assert charts.diverging(0.0, 0.0) == "var(--none)"


def test_the_page_defines_every_colour_in_both_themes():
    from importlib import resources

    css = resources.files("benchbcss.report").joinpath("templates/report.css").read_text()
    used = {charts.heat(i / 10) for i in range(11)} | {charts.on_heat(i / 10) for i in range(11)}
    used |= {charts.diverging(i / 5, 1) for i in range(-5, 6)}
    used |= {charts.INK, charts.SOFT, charts.LINE, charts.PAPER, charts.ACCENT, charts.SECOND}
    used |= {charts.GOOD, charts.BAD, "var(--box)"}
    light, forced, system = re.split(r"\n@media screen[^{]*\{", css)
    for name in (found.removeprefix("var(").removesuffix(")") for found in used):
        assert f"{name}:" in css, name
    dark = [dict(re.findall(r"(--[\w-]+): ([^;]+);", part)) for part in (forced, system)]
    named = set(re.findall(r"(--[\w-]+):", light)) - {"--dark-text", "--cold"}
    assert named - set(dark[0]) == set()
    assert dark[0].items() <= dark[1].items()
