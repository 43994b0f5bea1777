"""Lists of what there is: as it was said, whatever it is."""

import json

import pytest

from benchbcss.cli.listing import show_rows

SUMMARY = " ".join(["word"] * 20)
REMEDY = "Install what it needs: pip install 'mine[extra]'."


@pytest.mark.parametrize("form", ["table", "json"])
def test_brackets_and_colons_are_shown_as_they_are(capsys, form, monkeypatch):
    """Renderers of tables have a markup of their own, in which they mean colours and pictures."""
    monkeypatch.setenv("COLUMNS", "200")
    row = {"backend": "[red]mine[/red]", "ready": REMEDY, "plugins": {"kind": ["a :smile:", "b"]}}
    show_rows([row], form, "none")
    shown = " ".join(capsys.readouterr().out.split())
    if form == "json":
        assert json.loads(shown) == [row]
    else:
        assert all(text in shown for text in ("[red]mine[/red]", REMEDY, "kind: a :smile:, b"))


def test_names_are_whole_at_80_columns(capsys, monkeypatch):
    """They are typed again; what all rows share takes no column."""
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"a_backend_of_rather_long_name_{i}" for i in range(3)]
    rows = [
        {"backend": name, "tracks": ["prompted", "semantic"], "summary": SUMMARY, "from": "me"}
        for name in names
    ]
    show_rows(rows, "table", "none")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if line[:1] == "a"} == set(names)
    said = " ".join(" ".join(lines).partition("every backend: ")[2].split())
    assert said == f"tracks prompted, semantic, summary {SUMMARY}, from me"


def test_numbers_are_aligned_to_the_same_digit(capsys):
    rows = [{"class": n, "px": p, "share": s, "um2": u} for n, p, s, u in _COUNTED]
    show_rows(rows, "table", "none")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "class          px   share    um2",
        "tumor  12,345,678  0.5000  145.8",
        "fat             9  0.1978      -",
    ]


_COUNTED = [("tumor", 12345678, 0.5, 145.8), ("fat", 9, 0.1978, None)]
