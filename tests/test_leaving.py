"""A thread that never ends holds no process."""

import subprocess
import sys
import time

CODE = """
import sys, threading, time
from benchbcss import leaving

if {left}:
    threading.Thread(target=time.sleep, args=(60,), name="theirs").start()
print("done", leaving.left_over())
leaving.soon(3, patience={patience})
sys.exit(3)
"""


def run(left, patience):
    code = CODE.format(left=left, patience=patience)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )
    return done, time.monotonic() - began


def test_what_a_plugin_left_running_is_named_and_ended():
    done, _ = run(True, 0.2)
    assert (done.returncode, done.stdout) == (3, "done ['theirs']\n")
    assert done.stderr == "note: threads that are still running are ended: theirs\n"


def test_nothing_waits_where_nothing_is_left():
    done, seconds = run(False, 60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "done []\n", "")
    assert seconds < 30
