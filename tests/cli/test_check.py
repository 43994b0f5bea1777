"""`benchbcss check`: what it says, and where what a backend prints goes."""

import json
import subprocess
import sys

from tests_support import cli

CHATTY = """
import os
import sys
import click
from benchbcss.output import diverted
from benchbcss.names import VisibleStream

sys.stdout = VisibleStream(sys.stdout)  # as the command line has it

with diverted() as out:
    print("the backend")
    os.system("echo its program")
    click.echo("a check\\x07", out)
print("afterwards")
"""


def test_what_a_backend_and_its_programs_print_is_kept_apart():
    done = subprocess.run(
        [sys.executable, "-c", CHATTY], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["a check\\x07", "afterwards"]
    assert sorted(done.stderr.splitlines()) == ["its program", "the backend"]


def test_skipped_checks_are_not_counted_as_passed():
    done = cli("check", "floor_majority", "--format", "json", check=0)
    outcomes = json.loads(done.stdout)
    passed = sum(outcome["status"] == "pass" for outcome in outcomes)
    skipped = sum(outcome["status"] == "skipped" for outcome in outcomes)
    assert 0 < skipped == len(outcomes) - passed
    said = f"floor_majority keeps the contract ({passed} checks passed, {skipped} skipped)"
    assert said in done.stderr
