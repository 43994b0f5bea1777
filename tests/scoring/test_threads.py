import threading
import time

import pytest

from benchbcss.scoring import threads


def test_results_come_in_the_order_of_the_items(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    assert list(threads.on_threads(lambda x: x * x, range(50), True)) == [x * x for x in range(50)]


@pytest.mark.parametrize("why", ["not worth it", "one core", "alone"])
def test_no_thread_is_started(monkeypatch, why):
    monkeypatch.setattr(threads, "cores", lambda: 1 if why == "one core" else 2)

    def here(_):
        return threading.current_thread()

    def started():
        return list(threads.on_threads(here, range(4), why != "not worth it"))

    if why == "alone":
        with threads.alone():
            assert set(started()) == {threading.current_thread()}
        assert threading.current_thread() not in started()  # only while it lasts
    else:
        assert set(started()) == {threading.current_thread()}


def test_an_error_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        list(threads.on_threads(lambda x: 1 / x, [1, 0, 2], True))


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_side_by_side_in_order_within_the_bound(monkeypatch, cores):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    lock, under_way, most = threading.Lock(), [], []

    def work(size):
        with lock:
            under_way.append(size)
            most.append((sum(under_way), len(under_way)))
        time.sleep(0.002 * (size % 4))
        with lock:
            under_way.remove(size)
        return -size

    sizes = [3, 9, 1, 25, 2, 2, 7, 1, 8, 30, 4, 6]
    assert list(threads.side_by_side(work, sizes, sizes, 10)) == [-size for size in sizes]
    assert all(total <= 10 or number == 1 for total, number in most)
    assert max(number for _, number in most) <= cores
    assert (max(number for _, number in most) > 1) == (cores > 1)


def test_after_an_error_nothing_more_is_begun(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            raise ValueError("third")
        return item

    results = threads.side_by_side(work, range(100), [1] * 100, 10)
    with pytest.raises(ValueError, match="third"):
        list(results)
    assert len(begun) < 20
