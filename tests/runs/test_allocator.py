"""Memory that is freed is kept: counted as the pages that the kernel must find again."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults are counted as on Linux")

PROGRAM = """
import resource, sys
from benchbcss.runs.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
def use():
    return [b"x" * (64 << 20) for _ in range(3)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how, **environment):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(
        command, env={**plain, **environment}, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_freed_memory_is_used_again():
    pages = 5 * 3 * (64 << 20) // 4096
    assert faults("plain") > pages / 2
    assert faults("kept") < pages / 20


def test_what_the_user_sets_stays():
    assert faults("kept", MALLOC_TRIM_THRESHOLD_="131072") > faults("kept") * 5
