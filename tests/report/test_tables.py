"""Tables: escaped, named, with headings that belong to their cells."""

from xml.etree import ElementTree

import pytest

from benchbcss.board.cells import MARKS, Grid
from benchbcss.report import tables

EVIL = '<img src=x onerror="alert(1)">&amp;'


def parsed(grid, **options):
    shown = tables.table(grid, **options)
    root = ElementTree.fromstring(str(shown.html))
    head = ["".join(th.itertext()) for th in root.iter("th") if th.get("scope") == "col"]
    body = [["".join(cell.itertext()) for cell in row] for row in root.find("tbody")]
    return root, head, body


@pytest.mark.parametrize("text", [EVIL, "{{x^2}}", "**bold**", "$x$", "a\nb", "", "=1+1"])
def test_cells_and_headings_are_shown_as_they_are(text):
    grid = Grid(text or "t", ["model", text], [[text, "1"], ["b", text]])
    root, head, body = parsed(grid)
    assert head == ["model", text or "row"]
    assert body == [[text, "1"], ["b", text]]
    assert {child.tag for child in root.iter()} <= {"table", "thead", "tbody", "tr", "th", "td"}


def test_the_column_that_names_a_row_comes_first():
    _, head, body = parsed(Grid("t", ["#", "model", "x"], [["1", "a", "2"]], (1,), key=2))
    assert head == ["model", "#", "x"]
    assert body == [["a", "1", "2"]]


def test_cells_point_to_their_headings():
    root, _, _ = parsed(Grid("t", ["model", "x"], [["a", "1"], ["b", "2"]]))
    ids = {cell.get("id"): cell.get("scope") for cell in root.iter("th")}
    cells = list(root.iter("td"))
    assert len(cells) == 2
    for cell in cells:
        assert sorted(ids[name] for name in cell.get("headers").split()) == ["col", "row"]


def test_ids_of_two_tables_differ():
    grid = Grid("t", ["model", "x"], [["a", "1"]])
    first, second = (parsed(grid)[0] for _ in range(2))
    names = [{cell.get("id") for cell in root.iter("th")} for root in (first, second)]
    assert not names[0] & names[1]


def test_verdicts_floors_and_commands_are_marked():
    lines = [[f"m{i}", f"{status} (0.5)", "c"] for i, status in enumerate(MARKS)]
    root, _, _ = parsed(Grid("t", ["model", "v", "cmd"], lines), faint=[1], code=[2])
    for row, (index, status) in zip(root.find("tbody"), enumerate(MARKS), strict=True):
        kinds = [cell.get("class").split() for cell in row]
        assert status.replace(" ", "-") in kinds[1]
        assert "code" in kinds[2]
        assert all(("faint" in kind) == (index == 1) for kind in kinds)
    assert not any(cell.get("style") for cell in root.iter())


def test_a_table_without_lines():
    _, head, body = parsed(Grid("t", ["model", "x"], []))
    assert head == ["model", "x"]
    assert body == []
