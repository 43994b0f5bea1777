"""``benchbcss new-plugin``: what it writes works without editing."""

import json
import os
import subprocess
import sys

import pytest
import warm
from tests_support import cli

from benchbcss import scaffold
from benchbcss.errors import InputError


def install(package, site):
    """As pip install does, without a network and into a folder of its own."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--target", str(site), str(package)),
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_a_new_package_passes_its_checks_and_gets_a_row(kind, phantom, tmp_path):
    name = f"my_{kind}"
    done = cli("new-plugin", name, "--kind", kind, "--into", tmp_path, check=0)
    assert f"benchbcss check {name}" in done.stderr
    site = tmp_path / "site"
    install(tmp_path / name, site)
    outcomes = json.loads(cli("check", name, "--format", "json", site=site, check=0).stdout)
    assert {o["status"] for o in outcomes} <= {"pass", "skipped"}
    options = ["--set", "train.budget=recipe", "--set", "train.steps=12"]
    common = ["--data", phantom, "--workspace", tmp_path / "w"]
    cli("run", name, *common, *(options if kind != "external" else []), site=site, check=0)
    board = cli("leaderboard", "--workspace", tmp_path / "w", "--format", "json", check=0)
    rows = [row for table in json.loads(board.stdout)["tables"] for row in table["rows"]]
    ranked = {row["backend"]: row["rank"] for row in rows}
    assert ranked[name] == 1
    assert any(row["floor"] for row in rows)
    listed = json.loads(cli("plugins", "--format", "json", site=site, check=0).stdout)
    own = next(entry for entry in listed if entry["distribution"] == f"benchbcss_{name}")
    assert own["hooks"] == ["benchbcss_register_backends"]
    short = ["-k", "not learns_two_rois and not resumed"]  # the command above did these
    words = ["-q", "-p", "no:cacheprovider", *short, str(tmp_path / name)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    tests = warm.run("pytest", words, environment, tmp_path / name)
    assert tests.returncode == 0, tests.stdout[-2000:]
    assert "2 deselected" in tests.stdout


def test_what_is_written_is_tidy(tmp_path):
    for kind in scaffold.KINDS:
        root = scaffold.write(f"x_{kind}", kind, tmp_path)
        text = "".join(path.read_text() for path in root.rglob("*") if path.is_file())
        assert "@" not in text.replace("@hookimpl", "").replace("@parametrize_with_checks", "")
        for path in root.rglob("*.py"):
            compile(path.read_text(), str(path), "exec")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "."],
        cwd=tmp_path,  # so that benchbcss is a stranger, as in an author's own folder
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["My", "1st", "a-b", "class", "../x", "", "con", "a" * 101])
def test_names_that_cannot_be_a_modules(tmp_path, name):
    with pytest.raises(InputError, match="cannot be a backend's name"):
        scaffold.write(name, "dense", tmp_path)


def test_nothing_is_overwritten(tmp_path):
    scaffold.write("mine", "dense", tmp_path)
    with pytest.raises(InputError, match="exists already"):
        scaffold.write("mine", "dense", tmp_path)
    done = cli("new-plugin", "unetpp", "--into", tmp_path, check=2)
    assert "There is a backend 'unetpp' already" in done.stderr
    (tmp_path / "file").write_text("")
    done = cli("new-plugin", "another", "--into", tmp_path / "file", check=2)
    assert f"Directory '{tmp_path / 'file'}' is a file" in done.stderr


@pytest.mark.parametrize("name", ["unetpp", "sam2", "floors"])
def test_a_package_that_would_hide_anothers_is_not_written(name, tmp_path):
    done = cli("new-plugin", name, "--into", tmp_path, check=2)
    assert "already" in done.stderr
    assert not (tmp_path / name).exists()
