import pytest

from benchbcss import progress
from benchbcss.progress import SILENT, Count


@pytest.fixture
def clock(monkeypatch):
    moved = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moved[0])
    return moved


def test_rate_and_time_left(clock):
    count = Count(300, "step")
    assert (count.rate, count.left) == (None, None)
    count(0)
    assert (count.rate, count.left) == (None, None)
    clock[0] += 10
    count(20)
    assert (count.rate, count.left) == (2.0, 140.0)


def test_what_was_done_before_an_interruption_says_nothing_of_the_rate(clock):
    count = Count(300, "step")
    count(120)
    clock[0] += 10
    count(130)
    assert (count.rate, count.left) == (1.0, 170.0)


def test_a_clock_ends_it(clock):
    count = Count(None, "step")
    count.until = 160.0
    assert count.left == 60.0
    clock[0] = 161.0
    assert count.left == 0.0


def test_items_are_all_given_in_order_whoever_looks():
    assert list(SILENT.counted(["a", "b"])) == ["a", "b"]
    assert list(SILENT.counted([])) == []
    SILENT("training", loss=1)
    SILENT.note("nothing is printed")


def test_items_are_counted_when_they_are_done():
    seen = []

    class Kept(progress.Progress):
        def counting(self, total, unit="ROI", doing=""):
            count = Count(total, unit, doing)
            seen.append(count)
            from contextlib import nullcontext

            return nullcontext(count)

    items = Kept().counted("ab", doing="reading")
    next(items)
    assert (seen[0].done, seen[0].total, seen[0].doing) == (0, 2, "reading")
    next(items)
    assert seen[0].done == 1
    assert next(items, None) is None
    assert seen[0].done == 2
