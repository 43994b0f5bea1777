import json
import os
import socket
import subprocess
import sys
import time

import pytest

from benchbcss.progress import Count
from benchbcss.results.heartbeat import Heartbeat, clock, is_there, plain


def test_there_and_back():
    outer, inner = Count(300, "step"), Count(8, "ROI", "validating")
    outer(100)
    time.sleep(0.01)
    outer(120)
    inner(3)
    beat = Heartbeat.of(json.loads(json.dumps({"stage": "training", **plain([outer, inner])})))
    assert (beat.stage, beat.count, beat.share, beat.unit) == ("training", "120/300", 0.4, "step")
    assert beat.part == "validating 3/8 ROIs"
    assert beat.rate
    assert beat.left
    assert beat.left == pytest.approx(180 / beat.rate, abs=0.1)
    assert plain([]) == {}


def test_of_no_known_end():
    count = Count(None, "step")
    count.until = time.monotonic() + 60
    count(7)
    beat = Heartbeat.of({"stage": "training", **plain([count])})
    assert (beat.count, beat.share) == ("7", None)
    assert beat.left == pytest.approx(60, abs=1)


@pytest.mark.parametrize("junk", [None, "x", True, [], {}, float("nan"), float("inf"), 10**400])
def test_what_another_version_wrote_is_left_out(junk):
    names = ("done", "total", "unit", "rate", "left", "part", "stage")
    beat = Heartbeat.of(dict.fromkeys(names, junk))
    assert beat.share is None or 0 <= beat.share <= 1
    assert isinstance(beat.speed, str)
    assert isinstance(beat.count, str)
    assert Heartbeat.of({}) == Heartbeat("starting")


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (3.4, "3.4 steps/s"),
        (250, "250 steps/s"),
        (0.4, "2.5 s/step"),
        (0.005, "3:20/step"),
        (0, ""),
    ],
)
def test_speed(rate, text):
    assert Heartbeat("training", unit="step", rate=rate).speed == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (52.4, "0:52"),
        (3599.6, "1:00:00"),
        (3723, "1:02:03"),
        (97_200, "1 d 3 h"),
        (-5, "0:00"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_process_is_there_on_its_own_machine_alone():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert is_there({"pid": os.getpid()}) is True
    assert is_there({"pid": os.getpid(), "host": socket.gethostname()}) is True
    assert is_there({"pid": os.getpid(), "host": "another"}) is None
    for number in (gone.pid, 0, -1, 10**30, "1", None):  # -1 would stand for all processes
        assert is_there({"pid": number}) is False
