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


def test_what_fails_everywhere_is_said_once(monkeypatch, capsys):
    from click.testing import CliRunner

    from benchbcss.cli.check import check
    from benchbcss.testing import checks
    from benchbcss.testing.checks import Outcome

    def run(backend, overrides, say):
        outcomes = [
            Outcome("one", "FAIL", "it broke", "mend it", 0.1),
            Outcome("two", "FAIL", "it broke", "or mend that", 0.1),
            Outcome("three", "FAIL", "otherwise", "mend this", 0.1),
        ]
        for outcome in outcomes:
            say(outcome)
        return outcomes

    monkeypatch.setattr(checks, "run_checks", run)
    done = CliRunner().invoke(check, ["mine"])
    assert done.exit_code == 1
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[1:4] == ["it broke", "hint: mend it", "FAIL     two (0.1 s)"]
    assert lines[4:6] == ["the same as in one", "FAIL     three (0.1 s)"]
    assert lines[6:] == ["otherwise", "hint: mend this"]
