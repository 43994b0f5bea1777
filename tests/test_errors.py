"""What errors say: strangers' in one line, with the place in their code; what names there are."""

import pytest

from benchbcss.errors import (
    MOST_LISTED,
    NEAREST_LISTED,
    PluginError,
    UnknownNameError,
    explain,
)


def inner():
    raise ValueError("two\n  lines")


def caught(function, *arguments):
    with pytest.raises(BaseException) as found:  # noqa: PT011
        function(*arguments)
    return found.value


def test_the_innermost_line_of_their_code_is_named():
    error = caught(inner)
    line = inner.__code__.co_firstlineno + 1
    assert explain(error) == "ValueError: two lines"
    placed = explain(error, __name__)
    assert placed == f"ValueError: two lines ({__name__.replace('.', '/')}.py, line {line})"
    assert explain(error, "somebody_else") == "ValueError: two lines"


def test_what_is_raised_in_a_library_is_placed_where_it_was_called():
    line = caught.__code__.co_firstlineno + 2
    assert explain(caught(int, "x"), __name__).endswith(f"test_errors.py, line {line})")


def test_our_own_words_and_none():
    assert explain(PluginError("predict\nbroke"), __name__) == "predict broke"
    assert explain(MemoryError()) == "MemoryError"


# -- unknown names ---------------------------------------------------------------------------------


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
