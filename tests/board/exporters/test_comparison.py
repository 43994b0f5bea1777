"""What is said below a table of pairs."""

import pytest

from benchbcss.board.exporters.comparison import notes_of


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], []),
        ([("a - b", None)], []),
        ([("a - b", "one ROI")], ["a - b: one ROI"]),
        ([("a - b", "one ROI"), ("a - c", "one ROI")], ["every pair: one ROI"]),
        (
            [("a - b", "one ROI"), ("a - c", None), ("b - c", "one ROI")],
            ["a - b, b - c: one ROI"],
        ),
        (
            [("a - b", "one ROI"), ("a - c", "no ROI"), ("b - c", "one ROI")],
            ["a - b, b - c: one ROI", "a - c: no ROI"],
        ),
    ],
)
def test_a_reason_is_said_once(pairs, said):
    """With ten pairs there were ten paragraphs of one sentence."""
    assert notes_of(iter(pairs)) == said
