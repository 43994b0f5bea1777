"""A workspace with other results is not called empty."""

import pytest
from board_support import fail, result, write

from benchbcss.board import asked
from benchbcss.errors import UnknownNameError


@pytest.mark.parametrize(
    ("track", "seed", "said"),
    [
        (None, 7, "no result of seed '7'. Known: 0, 1."),
        ("prompted", None, "no result in track 'prompted'. Known: semantic."),
        ("prompted", 1, "no result of seed 1 in track 'prompted'. Known: semantic."),
        ("prompted", 7, "no result of seed '7'. Known: 0, 1."),
    ],
)
def test_what_has_no_result_is_named(tmp_path, track, seed, said):
    write(tmp_path, result("net"))
    write(tmp_path, result("net", seed=1), "seed1-x")
    with pytest.raises(UnknownNameError, match=said):
        asked.load(tmp_path, None, track, seed)
    assert len(asked.load(tmp_path, None, "semantic", 1).rows) == 1


def test_an_empty_workspace_is_just_that(tmp_path):
    assert asked.load(tmp_path, None, None, None).tables == []
    assert asked.load(tmp_path, None, "prompted", 7).tables == []


def test_a_failure_of_that_seed_is_shown(tmp_path):
    write(tmp_path, result("net"))
    fail(tmp_path, "net", run="seed7-y")
    assert len(asked.load(tmp_path, None, None, 7).failures) == 1
