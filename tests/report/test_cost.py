"""Cost against score: names cover neither dots nor one another."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbcss.report.cost import _LINE, HEIGHT, WIDTH, _Dot, _place, _span, _ticks

#: (name, seconds, mean Dice)
POINT = st.tuples(
    st.sampled_from(["unetpp", "sam2_v3", "mask2former", "floor_majority"]),
    st.floats(0.5, 1e5),
    st.floats(0, 1),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(POINT, min_size=1, max_size=30))
def test_names_never_overlap(points):
    """With thirty, some have no place and are left out; with three, none is."""
    dots = [_Dot(name, name, seconds, value, False) for name, seconds, value in points]
    _place(dots, *_span([dot.seconds for dot in dots]), HEIGHT)
    named = [dot for dot in dots if dot.side]
    assert named if len(dots) > 3 else named == dots
    for dot in dots:
        assert 0 <= dot.x <= WIDTH
        assert 0 <= dot.y <= HEIGHT
    for index, one in enumerate(named):
        for other in named[index + 1 :]:
            apart = one.box()[1] < other.box()[0] or other.box()[1] < one.box()[0]
            assert apart or abs(one.at - other.at) >= _LINE - 1e-9


@pytest.mark.parametrize("seconds", [[10.0], [1.0, 1e6], [5.0, 5.0], [0.02, 90.0]])
def test_the_axis_holds_every_point_and_two_ticks(seconds):
    low, high = _span(seconds)
    assert low < min(seconds) <= max(seconds) < high
    ticks = _ticks(low, high)
    assert len(ticks) >= 2
    assert all(low <= tick <= high for tick in ticks)
