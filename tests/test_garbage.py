"""When garbage is looked for, and what is lost where it is not."""

import gc
import subprocess
import sys

import pytest

from benchbcss import garbage

HOLDER = """
import gc, sys
from benchbcss import garbage
{own}

class Holder:
    def __init__(self):
        self.me = self
        self.file = open(sys.argv[1], "w")
        self.file.write("what was not closed")

    def __del__(self):
        print("found")

Holder()
"""


def raising():
    with garbage.put_off():
        raise KeyError


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("enabled", [True, False])
def test_a_search_that_was_put_off_is_on_again_only_where_it_was(enabled):
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with garbage.put_off(), garbage.put_off():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_a_search_is_on_again_after_an_error():
    assert gc.isenabled()
    with pytest.raises(KeyError):
        raising()
    assert gc.isenabled()


def test_the_end_of_a_process_of_ours_looks_for_nothing_and_loses_no_file(tmp_path):
    path = tmp_path / "left.txt"
    assert run(HOLDER.format(own=""), str(path)) == "found\n"
    assert run(HOLDER.format(own="garbage.own_process()"), str(path)) == ""
    assert path.read_text() == "what was not closed"


def test_a_file_that_refuses_does_not_hide_the_next(tmp_path):
    refusing = """
class Refusing(io.RawIOBase):
    def flush(self):
        raise RuntimeError("no")

kept = [Refusing(), open(sys.argv[2], "w")]
kept[1].close()
"""
    code = HOLDER.format(own="garbage.own_process()\nimport io") + refusing
    # Python itself tells of a flush that raises; that is the stranger's.
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a", tmp_path / "b"],
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "a").read_text() == "what was not closed"


def test_other_exit_functions_come_first():
    code = """
import atexit, gc
from benchbcss import garbage
garbage.own_process()
atexit.register(lambda: print("theirs", gc.get_freeze_count()))
"""
    assert run(code) == "theirs 0\n"


def test_only_a_process_of_ours_spares_what_there_is(monkeypatch):
    monkeypatch.setattr(garbage, "_ours", False)
    before = gc.get_freeze_count()
    garbage.spare()
    assert gc.get_freeze_count() == before
    code = "import gc\nfrom benchbcss import garbage\ngarbage.own_process()\ngarbage.spare()\n"
    assert int(run(code + "print(gc.get_freeze_count())")) > 1000


@pytest.mark.parametrize("module", ["benchbcss", "benchbcss.runs.worker"])
def test_commands_and_workers_are_processes_of_ours(module):
    """Whatever they end with."""
    code = f"""
import atexit, runpy, sys
from benchbcss import garbage
atexit.register(lambda: print(garbage._ours))
sys.argv = ["{module}", "/nowhere/at-all"]
runpy.run_module("{module}", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == "True\n"
