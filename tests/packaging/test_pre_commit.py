"""The pre-commit hooks, `make lint` and CI run the same commands."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]


def recipe(target):
    """The commands of a make target, expanded and not run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    installed = ["-o", ".venv/.installed", "-o", ".venv/.installed-test"]
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", *installed, target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()


def test_the_hooks_are_the_commands_of_make_lint():
    assert [hook["entry"] for repo in HOOKS for hook in repo["hooks"]] == recipe("lint")


def test_make_test_which_ci_runs_begins_with_them():
    lint = recipe("lint")
    commands = recipe("test")
    assert commands[: len(lint)] == lint
    assert "pytest" in commands[len(lint)]
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_hooks_fetch_nothing_and_see_the_whole_tree():
    for repo in HOOKS:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            assert hook["always_run"]
            assert not hook["pass_filenames"]


def test_pre_commit_accepts_the_file():
    clientlib = pytest.importorskip("pre_commit.clientlib")
    clientlib.load_config(str(ROOT / ".pre-commit-config.yaml"))
