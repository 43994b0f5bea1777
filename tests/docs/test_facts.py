"""Published numbers and names of codes agree with their sources, wherever they stand."""

import csv
import re
from pathlib import Path

import pytest

from benchbcss.board import reported
from benchbcss.data.labels import official_codes, read_code_table

ROOT = Path(__file__).parents[2]
CLASSES = (
    "tumor",
    "stroma",
    "lymphocyte_or_inflammatory",
    "necrosis",
    "blood_vessel",
    "other",
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def number(text):
    """A number where the text is one; ranges stay text."""
    try:
        return float(text)
    except ValueError:
        return str(text)


def published(shared):
    """The rows of reported_results.csv as reported.yaml writes them: empty cells left out."""
    with open(shared / "facts" / "reported_results.csv", newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            entry = {name: number(text) for name, text in row.items() if text}
            entry["note"] = entry.pop("provenance")
            dice = {name: entry.pop(name) for name in CLASSES if name in entry}
            yield entry | ({"dice": dice} if dice else {})


@pytest.mark.shared
def test_reported_rows_are_the_published_ones_field_by_field(shared):
    ours = reported.load()
    theirs = list(published(shared))
    assert [entry["model"] for entry in ours] == [entry["model"] for entry in theirs]
    for entry, expected in zip(ours, theirs, strict=True):
        plain = {
            name: {key: number(cell) for key, cell in value.items()}
            if isinstance(value, dict)
            else number(value)
            for name, value in entry.items()
        }
        assert plain == expected, entry["model"]


@pytest.mark.shared
def test_our_code_table_is_the_released_one(shared):
    assert official_codes() == read_code_table(shared / "facts" / "gtruth_codes.tsv")


def named_codes(text):
    """(code, name) pairs written as ``7 (exclude)`` or ``blood_vessel {18}``."""
    names = "|".join(sorted((n.replace("_", "[_ ]") for n in official_codes()), key=len)[::-1])
    for code, name in re.findall(rf"\b(\d+) \(({names})\)", text):
        yield int(code), name.replace(" ", "_")
    for name, code in re.findall(rf"\b({names}) \{{(\d+)\}}", text):
        yield int(code), name.replace(" ", "_")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_codes_have_their_own_names_in_every_page(page):
    for code, name in named_codes(page.read_text()):
        assert official_codes()[name] == code, f"{page.name}: {code} ({name})"


def test_a_code_under_another_name_is_seen():
    assert list(named_codes("Codes 7 (undetermined) and 18 (blood vessel)")) == [
        (7, "undetermined"),
        (18, "blood_vessel"),
    ]
    assert any(list(named_codes(page.read_text())) for page in PAGES)
