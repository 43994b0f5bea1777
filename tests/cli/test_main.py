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


@pytest.mark.parametrize(
    "words", [["status"], ["runs", "list"], ["runs", "rm", "--yes", "x"], ["cancel", "x"]]
)
def test_runs_of_a_suite_are_named_by_its_file_as_well_and_a_misspelt_one_is_refused(
    tmp_path, words
):
    from click.testing import CliRunner

    from benchbcss.cli.main import cli
    from benchbcss.errors import InputError, UnknownNameError

    (tmp_path / "runs" / "nests" / "unetpp").mkdir(parents=True)
    (tmp_path / "file.yaml").write_text("name: nests")

    def asked(suite):
        where = ["--suite", str(suite), "--workspace", str(tmp_path)]
        return CliRunner().invoke(cli, [*words, *where]).exception

    said = asked("nets")
    assert isinstance(said, UnknownNameError)
    assert "'nets'. Did you mean 'nests'? Known: nests." in str(said)
    for suite in ("nests", tmp_path / "file.yaml"):
        found = asked(suite)
        assert found is None or (isinstance(found, InputError) and "no run 'x'" in str(found))
