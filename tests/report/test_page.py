"""The report as a page: complete, offline, escaped, and honest about what is missing."""

import re
from collections import Counter
from html.parser import HTMLParser

import board_support
import pytest
import report_support as support

from benchbcss.board import model
from benchbcss.report import gallery, page


class Page(HTMLParser):
    """Elements with their attributes, ids, and the text that is shown."""

    VOID = ("meta", "link", "input", "img", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.shown = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.shown.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.shown).split())


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


def test_every_element_is_closed_and_ids_are_unique(parsed):
    assert parsed.open == []
    ids = [found["id"] for _, found in parsed.elements if "id" in found]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for _, found in parsed.elements:
        pointed = found.get("aria-labelledby"), found.get("aria-describedby"), found.get("headers")
        for name in " ".join(filter(None, pointed)).split():
            assert name in ids
        if found.get("href", "").startswith("#"):
            assert found["href"][1:] in ids


def test_nothing_is_fetched(parsed, html):
    for tag, found in parsed.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert found.get(name, "#").startswith(("#", "data:")), (tag, found)
    styles = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert styles
    assert not any("@import" in style or "url(" in style for style in styles)
    policy = next(f for t, f in parsed.elements if f.get("http-equiv"))["content"]
    assert "default-src 'none'" in policy


def test_the_policy_allows_the_script_that_is_there(html):
    import base64
    import hashlib

    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_the_five_questions_are_answered_before_anything_else(parsed):
    text = parsed.text
    scores = text.index("Filled: rank 1")
    places = [
        text.index(question)
        for question in (
            "Which model is best? good",
            "Is it certain?",
            "Where does it fail?",
            "Did training go well? stable",
            "What did it cost?",
        )
    ]
    assert places == sorted(places)
    assert places[-1] < scores


def test_every_part_is_there(parsed):
    headings = [
        "Scores",
        "Classes",
        "Confusions",
        "Any-tissue trap",
        "Training",
        "Objects by size",
        "ROIs",
        "Institutes",
        "Pictures",
        "Pairs",
        "Cost",
        "Provenance",
    ]
    links = [found for tag, found in parsed.elements if tag == "a"]
    assert len(links) >= len(headings)
    for heading in headings:
        assert f"> {heading} <" in f"> {' <> '.join(part.strip() for part in parsed.shown)} <"


def test_strangers_text_is_never_markup(html, parsed, hostile):
    assert hostile not in html
    assert "alert" in parsed.text  # it is shown
    scripts = [found for tag, found in parsed.elements if tag == "script"]
    assert len(scripts) == 1
    assert not any(tag == "img" for tag, _ in parsed.elements)
    assert not any(name.startswith("on") for _, found in parsed.elements for name in found)
    assert "out of memory <b>" in parsed.text


def test_a_torn_and_a_failed_run_are_named(parsed):
    text = parsed.text[parsed.text.index("Without a result") :]
    assert "torn/seed0-abc/result.json" in parsed.text
    assert "failed seed0-def" in parsed.text
    assert text


def test_a_row_without_predictions_keeps_its_scores(parsed):
    assert "gone: no pictures: The prediction" in parsed.text
    assert parsed.text.count("is missing") == 1


def test_a_row_without_training_says_so(parsed):
    assert "poor was not trained by the harness's loop: there is no training curve." in parsed.text


def test_equal_workspaces_give_equal_pages(workspace, html):
    assert support.html(workspace) == html


def test_a_workspace_without_results(tmp_path):
    text = page.html(model.load(tmp_path))
    assert "No results yet." in Page(text).text


def test_tables_that_are_gone_are_said_and_the_rest_is_shown(tmp_path, data):
    runs = support.rows(tmp_path, data, only=0.3)
    for path in runs["only"].glob("*.parquet"):
        path.unlink()
    text = Page(support.html(tmp_path)).text
    assert "only: single ROIs are not shown" in text
    assert "only: no pictures" in text
    assert "There are no two ranked models to compare." in text
    assert "only is the only ranked model" in text


@pytest.mark.parametrize("track", ["semantic", "prompted"])
def test_records_without_any_file_beside_them(tmp_path, track):
    """Such as those of another machine, or of an older edition."""
    for name, mean in (("one", 0.6), ("two", 0.4)):
        board_support.write(tmp_path, board_support.result(name, mean, track=track))
    text = Page(support.html(tmp_path)).text
    assert "one leads 2 models" in text
    assert "Not measured in this track." in text
    assert "one: no pictures" in text
    assert "not known: " in text  # the command, without a specification


@pytest.mark.slow
def test_eight_models_and_45_rois_take_at_most_five_megabytes(tmp_path):
    data = support.data_of(tmp_path, rois=45, size=gallery.SIZE)  # as large as a picture can be
    names = {f"model{i}": 0.1 * (i + 1) for i in range(8)}
    for run_dir in support.rows(tmp_path / "workspace", data, **names).values():
        support.trained(run_dir, [0.2 + 0.005 * i for i in range(100)])
    text = support.html(tmp_path / "workspace")
    assert text.count('aria-label="Prediction of') == 24
    pictures = sum(map(len, re.findall(r'href="(data:[^"]*)"', text)))
    print(f"{len(text.encode()) / 1e6:.2f} MB, of which pictures {pictures / 1e6:.2f}")
    assert len(text.encode()) < 5e6


def test_regions_of_two_tracks_are_told_apart_by_name(tmp_path):
    for track in ("semantic", "prompted"):
        content = board_support.result("net", 0.5, track=track)
        board_support.write(tmp_path, content, f"seed0-{track}")
    elements = Page(support.html(tmp_path)).elements
    for kind in ("aria-labelledby", "data-label"):
        names = [
            found[kind] for tag, found in elements if tag in ("section", "div") and kind in found
        ]
        assert len(names) == len(set(names)) > 4
