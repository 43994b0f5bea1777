"""The streams of the command line: closed, full, or a terminal that strangers write to."""

import json
import os
import subprocess
import sys

import pytest


def leaderboard(workspace, shell, **options):
    command = f"{sys.executable} -m benchbcss leaderboard --no-reported --workspace {workspace}"
    return subprocess.run(
        ["bash", "-c", f"{command} {shell}"], capture_output=True, text=True, **options
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("shell", [">&-", ">/dev/full"])
def test_a_stdout_that_takes_nothing_is_one_line(tmp_path, shell):
    done = leaderboard(tmp_path, shell)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be used")
    assert len(done.stderr.splitlines()) == 1


def test_what_a_stranger_wrote_does_not_reach_the_terminal(tmp_path):
    run = tmp_path / "runs" / "s" / "x" / "seed0-1"
    run.mkdir(parents=True)
    reason = "boom \x1b[2J\x1b]52;c;ZXZpbA==\x07"
    (run / "failure.json").write_text(json.dumps({"reason": reason}))
    done = leaderboard(tmp_path, "")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "boom \\x1b[2J\\x1b]52;c;ZXZpbA==" in done.stdout
