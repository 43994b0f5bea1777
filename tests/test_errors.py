"""Messages of unknown names: what there is, as much as is read."""

from benchbcss.errors import MOST_LISTED, NEAREST_LISTED, UnknownNameError


def test_few_known_names_are_listed_whole():
    names = [f"net{i}" for i in range(MOST_LISTED)]
    text = str(UnknownNameError("backend", "nte1", names))
    assert all(name in text for name in names)
    assert "Known: none." in str(UnknownNameError("backend", "x", []))


def test_of_many_the_nearest_are_listed():
    """A hundred runs were a wall of identifiers."""
    names = [f"seed{i % 3}-{i:012x}" for i in range(130)]
    text = str(UnknownNameError("run", "seed1-00000000000x", names, "Or pass a run's folder."))
    assert text.endswith(f" and {130 - NEAREST_LISTED} more. Or pass a run's folder.")
    assert "Did you mean 'seed" in text
    assert len(text) < 400
