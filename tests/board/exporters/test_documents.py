"""What every document of a board holds: csv, json, md, latex and html."""

import ast
import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from board_support import CLASSES, EXPORTERS, fail, result, shown, write

from benchbcss.board import model, reported
from benchbcss.board.exporters.latex import escape
from benchbcss.board.exporters.page import fragment, unbroken

DOCUMENTS = ("csv", "json", "md", "latex", "html")
EVIL = '=HYPERLINK("x") | <script>alert(1)</script> & 5% $x_1$ \\input{/etc/passwd}'


def strange(name, values, plugin="plugin 'missed' of strangers 1.0"):
    """A registered metric in a track's result."""
    return {
        "metrics": {name: {"label": "missed", "direction": "lower", "plugin": plugin}},
        "per_class": {"per_roi": {name: values}, "pooled": {name: values}},
    }


@pytest.fixture
def board(tmp_path):
    """One that holds a certain lead, criteria, a stranger's metric, and what went wrong."""
    for backend, mean in (("good", 0.8), ("bad", 0.4)):
        content = result(
            backend, mean, half=0.05, suite={"name": "theirs", "fingerprint": "a" * 64}
        )
        track = content["tracks"]["semantic"]
        values = {**dict.fromkeys(CLASSES, 0.125), "tumor": None, "other": 0.9}
        content["schema_version"] = 3
        content["suite"]["criteria"] = [
            {"metric": "mean_dice", "at_least": 0.65},
            {"metric": "clip_accuracy", "at_least": 0.6},
        ]
        track |= {"all_classes": CLASSES, **strange("missed", values)}
        track["metrics"]["dice"] = {
            "label": "Dice",
            "direction": "higher",
            "plugin": "plugin 'core' of benchbcss 0.1",
        }
        write(tmp_path, content)
    write(tmp_path, result("apart", 0.7, suite={"name": "theirs", "fingerprint": "b" * 64}))
    fail(tmp_path, "broken", EVIL + "\nmore\n" * 50, when=1.0)
    return model.load(tmp_path)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_holds_n_intervals_verdicts_and_reasons(board, name):
    text = shown(board, name).replace("\\_", "_").replace("&gt;", ">")
    assert "45" in text
    assert "0.75" in text  # the interval of the best
    assert "0.85" in text
    assert "mean_dice" in text
    assert re.search(r"per ROI \[0.750, 0.850\]; pooled \[0.750, 0.850\] above 0.65", text)
    assert "CLIP names the regions of the prompted track" in text
    assert "broken" in text
    assert "suite differs" in text


@pytest.mark.parametrize("name", [*DOCUMENTS, "table"])
def test_a_strangers_metric_is_a_column_and_the_cores_are_not(board, name):
    text = shown(board, name)
    assert "missed" in text
    assert "0.125" in text  # over the classes of the mean where it is defined
    if name == "csv":
        (row,) = (
            line
            for line in csv.DictReader(io.StringIO(text))
            if (line["backend"], line["class"], line["estimand"]) == ("good", "mean", "per_roi")
        )
        assert row["metric: missed"] == "0.125"
        assert "metric: dice" not in row
    if name == "json":
        row = json.loads(text)["tables"][0]["rows"][0]
        assert row["registered"] == {"missed": 0.125}


@pytest.mark.parametrize("name", ["json", "md", "latex", "html"])
def test_each_begins_with_the_answer(board, name):
    assert "good leads 2 models on 45 test ROIs: mean Dice 0.800" in shown(board, name)


@pytest.mark.parametrize("name", ["md", "latex", "html", "json"])
def test_reported_numbers_stand_apart(board, name):
    board.reported = reported.load()
    text = shown(board, name)
    assert "FCN8-VGG16" in text
    assert "FCN8-VGG16" not in text.split("eported")[0]


# -- csv -------------------------------------------------------------------------------------------


def lines(board):
    return list(csv.DictReader(io.StringIO(shown(board, "csv"))))


def test_csv_is_tidy(board):
    found = lines(board)
    tumor = [x for x in found if x["backend"] == "good" and x["class"] == "tumor"]
    assert {x["estimand"] for x in tumor} == {"per_roi", "pooled"}
    for line in tumor:
        values = [float(line[key]) for key in ("dice", "low", "high")]
        assert values == pytest.approx([0.8, 0.75, 0.85])
        assert (line["rank"], line["rois"], line["rois_with_class"]) == ("1", "45", "45")
        assert line["verdict: mean_dice >= 0.65"] in ("pass", "undecided")
        assert line["reason: mean_dice >= 0.65"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_class_may_be_named_with_a_colon(tmp_path, name):
    content = result("net", 0.7, suite={"name": "theirs", "fingerprint": "a" * 64})
    label = "dice.tumor: high grade >= 0.5"
    verdict = {"metric": "dice.tumor: high grade", "label": label, "status": "", "reason": ""}
    content["tracks"]["semantic"]["criteria"] = [verdict]
    write(tmp_path, content)
    assert "tumor: high grade" in shown(model.load(tmp_path), name)


def test_csv_has_the_criteria_of_what_stands_apart(tmp_path):
    """Where only baselines compare, no comparable row has any."""
    suite = {"name": "theirs", "fingerprint": "a" * 64}
    for name in ("majority", "colour"):
        write(tmp_path, result(name, 0.2, suite=suite, floor=True))
    write(tmp_path, result("net", 0.7, suite=suite, preset="smoke"))
    by_model = {line["model"]: line for line in lines(model.load(tmp_path))}
    assert by_model["net"]["verdict: mean_dice >= 0.65"] == "undecided"
    assert by_model["majority"]["verdict: mean_dice >= 0.65"] == ""


def test_a_shared_rank_is_no_date(board):
    board.tables[0].rows[0].tied = (1, 3)
    line = lines(board)[0]
    assert [line[key] for key in ("rank", "rank_from", "rank_to")] == ["1", "1", "3"]


def test_no_cell_is_a_formula(board):
    for line in lines(board):
        for cell in line.values():
            assert cell[:1] not in set("=+-@\t\r") or float(cell) < 0


# -- markup ----------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_one_page_that_asks_for_nothing(board):
    text = shown(board, "html")
    page = Page(text)
    assert page.open == []
    assert text.startswith("<!DOCTYPE html>")
    assert not {"script", "img", "iframe", "object"} & set(page.tags)
    links = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert links == ["data:,"]
    assert "url(" not in text
    assert "@import" not in text


def test_regions_of_html_are_told_apart_by_name(tmp_path):
    """Screen readers list them: the tables of two tracks have the same titles."""
    for track in ("semantic", "prompted"):
        write(tmp_path, result("net", 0.5, track=track), f"seed0-{track}")
    for text in (shown(model.load(tmp_path), "html"), fragment(model.load(tmp_path))):
        names = re.findall(r'role="region" aria-label="([^"]*)"', text)
        assert len(names) == len(set(names)) >= 4


def test_html_escapes_what_plugins_say(board):
    text = shown(board, "html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_html_says_a_verdict_by_more_than_colour(board):
    text = shown(board, "html")
    assert re.search(r'class="(pass|undecided)">(pass|undecided) \(0\.800 per ROI', text)
    page = Page(text)
    assert ("th", "scope", "row") in page.attributes
    assert page.tags.count("caption") == page.tags.count("table") > 2


def test_an_interval_has_the_digits_of_its_point_everywhere():
    """Whoever writes one without its point would round it otherwise than the board."""
    package = Path(model.__file__).parents[1]
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("cells.interval"):
                assert len(node.args) == 2, f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("cell", "whole"),
    [
        ("0.604 [0.57, 0.64]", "[0.57, 0.64]"),
        ("[-0.01, +0.02]", "[-0.01, +0.02]"),
        ("1-11", "1-11"),
    ],
)
def test_an_interval_or_a_shared_rank_is_not_broken_on_paper(cell, whole):
    assert unbroken(cell) == cell.replace(whole, f'<span class="whole">{whole}</span>')


@pytest.mark.parametrize("cell", ["seed0-1 [x]", "net[1a]", "2026-01-01", "0.5", ""])
def test_other_text_is_as_it_was(cell):
    assert unbroken(cell) == cell


def test_html_is_dark_on_screens_alone(board):
    text = shown(board, "html")
    assert re.findall(r"@media[^{]*prefers-color-scheme", text) == [
        "@media screen and (prefers-color-scheme"
    ]
    assert '<span class="whole">[' in text


def test_latex_runs_no_command_of_others(board):
    text = shown(board, "latex")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert "\\input" not in body
    assert body.count("\\begin") == body.count("\\end")
    fitted = (
        r"\\setbox0\\hbox\{\\begin\{tabular\}.*?\\end\{tabular\}\}%\n  \\ifdim\\wd0>\\textwidth"
    )
    boxes = re.findall(fitted, body, re.S)
    assert len(boxes) == body.count("\\begin{tabular}")  # none is wider than its page
    for rule in ("toprule", "midrule", "bottomrule"):
        assert f"\\{rule}" in body
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", body, re.S):
        widths = {len(re.findall(r"(?<!\\)&", line)) for line in block.splitlines() if "&" in line}
        assert len(widths) == 1


LATEX = shutil.which("pdflatex")


@pytest.mark.skipif(LATEX is None, reason="no LaTeX: apt-get install texlive-latex-recommended")
def test_latex_compiles(board, tmp_path):
    """Its tables fit on their pages, with 60 models and names that are commands too."""
    long = tmp_path / "long"
    for place in range(60):
        write(long, result(f"{'*' if place % 2 else '['}model] {EVIL} {place}", 0.5 + place / 200))
    board.reported = reported.load()
    more = model.load(long)
    text = shown(board, "latex") + shown(more, "latex")
    packages = r"\documentclass{article}\usepackage{booktabs,graphicx}"
    document = f"{packages}\n\\begin{{document}}\n{text}\n\\end{{document}}\n"
    (tmp_path / "board.tex").write_text(document)
    done = subprocess.run(
        [LATEX, "-interaction=nonstopmode", "-halt-on-error", "board.tex"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "board.log").read_text(errors="replace")
    assert "Float too large" not in log
    assert (tmp_path / "board.pdf").stat().st_size > 10_000


def test_latex_of_many_classes_is_several_tables(tmp_path):
    names = [f"class_{i}" for i in range(22)]
    content = result("net", 0.5)
    track = content["tracks"]["semantic"]
    track |= {"classes": names, "rois_with_class": dict.fromkeys(names, 45)}
    for part in filter(None, track["headline"].values()):
        part |= {"dice": dict.fromkeys(names, 0.5)}
        part |= {"intervals": {name: [0.4, 0.6] for name in names}}
    write(tmp_path, content)
    text = shown(model.load(tmp_path), "latex")
    heads = re.findall(r"\\toprule\n(.*)", text)
    assert all(head.strip().startswith("rank & model & ") for head in heads)
    assert [len(re.findall(r"class\\_\d+", head)) for head in heads] == [8, 8, 6]
    assert text.count(" & 0.500 [0.40, 0.60]") == 23
    assert text.count("\\caption{") == 3


def test_latex_says_which_letters_need_another_program(tmp_path):
    assert "xelatex" not in shown(model.load(tmp_path / "none"), "latex")
    write(tmp_path, result("mod\u00e8le", 0.5))
    assert "xelatex" not in shown(model.load(tmp_path), "latex")
    write(tmp_path, result("\u6a21\u578b", 0.5))
    assert "% holds letters that pdflatex lacks" in shown(model.load(tmp_path), "latex")


def test_latex_escapes():
    assert escape("a_b 5% #1 {x} \\y ~ ^ & $") == (
        r"a\_b 5\% \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \& \$"
    )


def test_markdown_tables_hold_together(tmp_path):
    write(tmp_path, result("a|b", 0.5))
    text = shown(model.load(tmp_path), "md")
    assert "a\\|b" in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
    head, sides = (line.split(" | ") for line in text.split("\n\n")[3].splitlines()[:2])
    assert sides[head.index("model")] == "---"
    assert sides[head.index("mean Dice")] == "---:"


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_empty_board_is_no_error(tmp_path, name):
    assert shown(model.load(tmp_path), name)
