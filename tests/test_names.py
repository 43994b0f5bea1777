"""A name is a name, and text of strangers is harmless where it is shown."""

import csv
import io

import pytest

from benchbcss import names
from benchbcss.errors import DataError, SuiteError
from benchbcss.suites import load_suite, mistakes

BAD = [
    *("", " ", ".", "..", "../up", "a/b", "a\\b", "/abs", ".hidden", "-option", "~home", "a."),
    *("con", "NUL.txt", "a:b", "a*b", "tab\tbed", "new\nline", "esc\x1b[2J", "\u202eturned"),
    *("\udcff", "x" * 101, "é" * 51, "nul\0"),
]
GOOD = ["bcss5", "floor_colour", "my-suite.v2", "größe", "a b", "x" * 100, "console"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name(name):
    with pytest.raises(ValueError, match="cannot be the name of a suite: it |operating") as caught:
        names.validator("suite")(name)
    assert names.visible(str(caught.value)) == str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", GOOD)
def test_what_is_one(name):
    assert names.validator("suite")(name) == name


@pytest.mark.parametrize(
    "name", ["../x.png", "a/b.png", "esc\x1b.png", "\udcff.png", "", "x" * 256]
)
def test_what_is_no_name_of_an_roi(name):
    with pytest.raises(DataError, match="cannot be the name of an ROI"):
        names.checked_rois(["fine.png", name])


def test_an_roi_may_be_called_as_a_file_may():
    names.checked_rois(["TCGA-A1_xmin1_MPP-0.25.png", "-1 (2).tif", "Größe=1.png", "x" * 255])


@pytest.mark.parametrize("name", ["../../../escaped", "a/b", "esc\\e[2J", ""])
def test_a_suite_with_another_name_is_refused(tmp_path, name):
    path = tmp_path / "s.yaml"
    path.write_text(f'label_map: bcss5\nname: "{name}"\n')
    with pytest.raises(SuiteError, match="cannot be the name of a suite"):
        load_suite(path)
    assert any("cannot be the name of a suite" in line for line in mistakes(path))


def test_a_printable_text_has_one_line():
    assert names.printable("a\tb\r\nc\x1b[2Jd\u202e") == r"a\tb\r\nc\x1b[2Jd\u202e"


def test_control_characters_are_shown_not_sent():
    hostile = "boom \x1b[2J\x1b]52;c;ZXZpbA==\x07 \x9b31m \u202e \udcff\ttab\n"
    stream = io.StringIO()
    names.VisibleStream(stream).write(hostile)
    assert stream.getvalue() == (
        "boom \\x1b[2J\\x1b]52;c;ZXZpbA==\\x07 \\x9b31m \\u202e \\udcff\ttab\n"
    )
    own = "\r\x1b[1;31mred\x1b[0m"
    stream = io.StringIO()
    names.VisibleStream(stream).write(own)
    assert stream.getvalue() == own


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "-cmd|' /C'"])
def test_no_cell_is_a_formula(text):
    stream = io.StringIO()
    csv.writer(stream).writerow([names.csv_cell(text)])
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert row[0][0] == "'"


@pytest.mark.parametrize("value", ["-0.5", "+1e-4", "12", -0.5, None, "name", "a=b"])
def test_numbers_and_plain_text_stay(value):
    assert names.csv_cell(value) == value


MARKED = [
    "a|b <script> [x](javascript:1) `c` \\|",
    "_x_ *y* __z__ ~~s~~ $a_b$ sam2_v3_no_stain &lt; &#60; ![i](j) a_ _b",
    *("# h", "+ p", "- m", "> q", "1. one", "2) two", "[ ] task", "=====", "---", "    code"),
    *("<b>bold", "http://e.com <http://e.com>", "a  \nb", "\\*x\\*", "100% & more"),
]


@pytest.mark.parametrize("text", MARKED)
def test_markdown_shows_text_as_it_is(text):
    """By the parser that notebooks use, as an item and as a cell."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"linkify": False})
    plain = " ".join(text.split())
    item = f"- {names.markdown_line(text)}\n\n- next\n"
    assert _shown(markdown.parse(item)) == [plain, "next"]
    cell = names.markdown_cell(text)
    table = f"| {cell} | b |\n| --- | --- |\n| {cell} | c |\n"
    assert _shown(markdown.parse(table)) == [plain, "b", plain, "c"]


def _shown(tokens):
    """The text of each block; anything that is no text is named."""
    return [
        " ".join(
            "".join(
                part.content if part.type == "text" else f"({part.type})" for part in token.children
            ).split()
        )
        for token in tokens
        if token.type == "inline"
    ]


def test_a_markdown_cell_stays_in_its_cell():
    cell = names.markdown_cell("a|b\n<script> [x](javascript:1) `c` \\| \x1b")
    assert "\n" not in cell
    assert "<" not in cell
    assert "](" not in cell
    assert cell.count("|") == cell.count("\\|")
