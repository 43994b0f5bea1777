"""Strangers' errors in one line, with the place in their code."""

import pytest

from benchbcss.errors import PluginError, explain


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
