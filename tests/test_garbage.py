"""When garbage is looked for, and that nothing is lost or kept where it is not."""

import gc
import subprocess
import sys

import pytest

from benchbcss import garbage

OURS = """
import gc
from benchbcss import garbage
garbage.own_process()
"""


@pytest.fixture(params=[True, False])
def enabled(request):
    was = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was else gc.disable)()


def raising():
    with garbage.put_off():
        raise KeyError


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_a_search_that_was_put_off_is_on_again_only_where_it_was(enabled):
    with garbage.put_off(), garbage.put_off():
        assert not gc.isenabled()
    assert gc.isenabled() == enabled
    with pytest.raises(KeyError):
        raising()
    assert gc.isenabled() == enabled


def test_only_a_process_of_ours_spares_what_there_is(monkeypatch):
    monkeypatch.setattr(garbage, "_may_spare", False)
    before = gc.get_freeze_count()
    garbage.spare()
    assert gc.get_freeze_count() == before
    code = "garbage.spare()\nprint(gc.get_freeze_count())\n"
    assert int(run(OURS + code)) > 1000


def test_it_does_so_once():
    """What a second run in one process would leave behind it is found all the same."""
    code = """
garbage.spare()
before = gc.get_freeze_count()
class Model:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("freed")
Model()
garbage.spare()
print(gc.get_freeze_count() == before)
gc.collect()
"""
    assert run(OURS + code) == "True\nfreed\n"


def test_what_is_made_later_is_found_at_the_end():
    """A tracker, say, which closes its file when it is found."""
    code = """
garbage.spare()
class Tracker:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("closed")
Tracker()
"""
    assert run(OURS + code) == "closed\n"


@pytest.mark.parametrize("module", ["benchbcss", "benchbcss.runs.worker"])
def test_commands_and_workers_are_processes_of_ours(tmp_path, module):
    code = f"""
import atexit, runpy, sys
from benchbcss import garbage
atexit.register(lambda: print(garbage._may_spare))
sys.argv = ["{module}", sys.argv[1]]
runpy.run_module("{module}", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "none")], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert done.stdout == "True\n"
