"""Commands that are forked behave as those of a new interpreter."""

import os
import subprocess
import sys

import pytest
import warm

PROGRAM = """
import atexit, json, os, sys
atexit.register(print, "at the end")
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("BENCHBCSS_X"), __name__]))
print("é", file=sys.stderr)
print(sys.stdin.read(), sys.stdout.isatty())
"""
ENDS = {
    "well": "",
    "a number": "sys.exit(7)",
    "words": "sys.exit('words')",
    "an error": "raise ValueError('boom')",
    "a signal": "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("end", ENDS)
def test_streams_arguments_environment_and_exit_are_those_of_subprocess(tmp_path, end):
    (tmp_path / "shown.py").write_text(PROGRAM + ENDS[end])
    environment = {**os.environ, "BENCHBCSS_X": "x"}
    words = ["--help", "a b"]  # as a command that needs no torch
    forked = warm.run("shown", words, environment, tmp_path)
    new = subprocess.run(
        [sys.executable, "-m", "shown", *words],
        **{"env": environment, "cwd": tmp_path, "capture_output": True, "text": True},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert forked.returncode == new.returncode
    assert forked.stdout == new.stdout
    assert forked.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]


def test_nothing_stays_for_the_next_one(tmp_path):
    (tmp_path / "leaves.py").write_text(
        "import os, sys\nsys.left = os.environ['BENCHBCSS_LEFT'] = 'x'\nsys.path.append('/x')\n"
    )
    (tmp_path / "looks.py").write_text(
        "import os, sys\n"
        "sys.exit(hasattr(sys, 'left') or 'BENCHBCSS_LEFT' in os.environ or '/x' in sys.path)\n"
    )
    for module in ("leaves", "looks"):
        assert warm.run(module, ["--help"], dict(os.environ), tmp_path).returncode == 0


def test_another_environment_of_libraries_is_a_new_interpreter(tmp_path):
    (tmp_path / "hub.py").write_text(
        "from huggingface_hub import constants\nprint(constants.HF_HUB_CACHE)\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = warm.run("hub", [], environment, tmp_path)
    assert done.stdout.strip() == str(tmp_path / "hub")
