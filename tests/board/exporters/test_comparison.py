"""What a table of pairs says, and what is said below it."""

import pytest

from benchbcss.board.exporters.comparison import _signed, notes_of, plus
from benchbcss.names import estimand
from benchbcss.scoring.compare import Difference


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.004, "0.00"), (-0.004, "0.00"), (0.0, "0.00"), (-0.006, "-0.01"), (0.25, "+0.25")],
)
def test_zero_has_no_sign(value, text):
    assert plus(value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.1, 0.05, 0.15), "+0.100 [+0.05, +0.15]"),
        ((0.0, 0.0, 0.0), "0.000 [0.00, 0.00]"),
        ((-0.1, None, None), "-0.100"),
        ((None, None, None), "-"),
        # with two digits it would seem to hold 0, beside a verdict that says otherwise
        ((0.008, 0.003, 0.013), "+0.008 [+0.003, +0.013]"),
        ((-0.008, -0.013, -0.002), "-0.008 [-0.013, -0.002]"),
        ((0.098, 0.0975, 0.105), "+0.098 [+0.098, +0.105]"),
    ],
)
def test_an_interval_does_not_contradict_its_difference(values, text):
    assert _signed(Difference(*values, p=None, rois=9, effective_rois=9.0, reason=None)) == text


def test_estimands_are_written_as_on_boards():
    assert [estimand(name) for name in ("per_roi", "pooled")] == ["per ROI", "pooled"]
