"""Columns as a terminal shows them, whatever is written in them."""

import pytest

from benchbcss.board.cells import Grid
from benchbcss.board.exporters.layout import (
    columns_of,
    lay_out,
    shorten,
    shorten_apart,
    shorten_middle,
    wrap,
)

wcwidth = pytest.importorskip("wcwidth")

WIDE = ["模型_上皮", "e\u0301te\u0301", "net🔬x", "שלום", "plain"]


@pytest.mark.parametrize("text", [*WIDE, "ｶﾅ カナ", "", "a\u200bb"])
def test_columns_are_those_of_a_terminal(text):
    assert columns_of(text) == wcwidth.wcswidth(text)


@pytest.mark.parametrize("left", [(0, 1), (0,)])
def test_columns_are_aligned_below_wide_letters(left):
    grid = Grid("", ["model", "次", "mean"], [[name, name[:3], "0.5"] for name in WIDE], left)
    lines = lay_out(grid, 80)
    assert len({columns_of(line) for line in lines}) == 1


def test_wide_text_is_wrapped_by_its_columns():
    lines = wrap("模型 上皮 細胞 分割 網路", 10, "  ")
    assert lines == ["模型 上皮", "  細胞", "  分割", "  網路"]
    assert wrap("    name   0.5", 40) == ["    name   0.5"]


def test_long_headings_of_numbers_are_wrapped():
    title = "a long name of a class with many words, and a comma"
    lines = lay_out(Grid("", ["model", title], [["a", "0.5"], ["b", "0.6"]]), 60)
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(line.split()) for line in lines[:-2]) == f"model {title}"


@pytest.mark.parametrize("cut", [shorten, shorten_middle])
@pytest.mark.parametrize("width", range(1, 12))
def test_nothing_cut_is_wider_than_asked(cut, width):
    for text in [*WIDE, "🔬" * 9, "x" * 20, "ab模型cd細胞ef"]:
        assert columns_of(cut(text, width, "…")) <= width


def test_no_two_names_look_alike():
    names = [f"{'a' * 30}_{i}_{'b' * 30}" for i in range(12)]
    short = shorten_apart(names, 12, "…")
    assert len(set(short)) == 12
    assert max(map(len, short)) <= 12
    assert shorten_apart(["alpha", "beta"], 12) == ["alpha", "beta"]
    seeds = shorten_apart(["sam2_v3_no_class_weights", "sam2_v3_no_class_weights s1"], 16, "…")
    assert [name[-3:] for name in seeds] == ["hts", " s1"]


def test_text_gives_way_on_narrow_pages():
    """A long word beside a name of several words: neither may reach beyond the page."""
    grid = Grid("", ["model", "source"], [["a name of rather many words", "x" * 38]], (0, 1))
    assert max(map(len, lay_out(grid, 60))) <= 60
    assert lay_out(grid, 80)[1].startswith("a name of rather many words  x")
