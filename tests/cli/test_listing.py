"""Lists of what there is: as it was said, whatever it is."""

import json

import pytest

from benchbcss.cli.listing import _print

REMEDY = "Install what it needs: pip install 'mine[extra]'."


@pytest.mark.parametrize("form", ["table", "json"])
def test_brackets_and_colons_are_shown_as_they_are(capsys, form):
    """A table's renderer has a markup of its own, in which they mean colours and pictures."""
    row = {"backend": "[red]mine[/red]", "ready": REMEDY, "plugins": {"kind": ["a :smile:", "b"]}}
    _print([row], form, "none")
    shown = capsys.readouterr().out
    if form == "json":
        assert json.loads(shown) == [row]
    else:
        assert all(text in shown for text in ("[red]mine[/red]", REMEDY, "kind: a :smile:, b"))
