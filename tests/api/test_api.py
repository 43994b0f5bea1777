"""``import benchbcss`` is cheap, and its names are what it promises, to Python and to mypy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import benchbcss as bb
from benchbcss import api

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "pandas", "numpy", "scipy", "pyarrow", "pydantic", "PIL", "timm", "click", "rich")

CONSUMER = """
from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import benchbcss as bb
from benchbcss.results.schema import RunResult, TrackResult
from benchbcss.runs.executors import Outcome

runs = bb.run(["unetpp"], data="bcss", suite="bcss5", preset="smoke", seeds=3, workspace="w")
assert_type(runs, bb.Runs)
assert_type(runs[0], Outcome)
assert_type(runs[:1], tuple[Outcome, ...])
assert_type(runs.load(), list[bb.Run])
bb.run("unetpp", seeds=[1, 2], name="slow", settings={"train.lr": 1e-4}, jobs=2, check=False)
board = bb.leaderboard("unetpp", suite="bcss5", track="semantic", workspace=Path("w"))
assert_type(board, bb.Leaderboard)
assert_type(board.unmet(["unetpp"]), list[str])
assert_type(board.save("board.html"), Path)
found = bb.compare("unetpp", "unetpp slow", workspace="w")
assert_type(found, bb.Comparison)
assert_type(found.seeds, dict[str, tuple[int, ...]])
run = bb.load_run("unetpp", workspace="w")
assert_type(run, bb.Run)
assert_type(run.result, RunResult)
assert_type(run.track("semantic"), TrackResult)
assert_type(run.tracks, tuple[str, ...])
run.confusion("truth", roi="a.png")
assert_type(bb.score("maps", data="bcss", name="nnunet", labels="codes", replace=True), bb.Run)
"""
WRONG = """
import benchbcss as bb

bb.run(["unetpp"], preset="tiny")
bb.run(["unetpp"], sed=3)
bb.run(3)
bb.leaderboard(workspace=3)
bb.load_run()
bb.load_run("a").confusion("rows")
bb.score("maps", relace=True)
bb.nothing
"""


def test_importing_it_imports_nothing_heavy():
    code = f"import sys, benchbcss; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_board_needs_neither_torch_nor_pandas(tmp_path):
    code = (
        "import sys, benchbcss as bb\n"
        f"print(bb.leaderboard(workspace={str(tmp_path)!r}))\n"
        "print([m for m in ('torch', 'pandas', 'timm', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_name_is_there_and_listed():
    for name in bb.__all__:
        assert getattr(bb, name) is not None
    assert (
        set(api.__all__) - {"RunOptions", "ScoreOptions", "SweepOptions"}
        <= set(bb.__all__)
        <= set(dir(bb))
    )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        bb.nothing  # noqa: B018
    assert not hasattr(bb, "__path_of_nothing__")


def test_the_package_says_that_it_is_typed():
    assert (Path(bb.__file__).parent / "py.typed").is_file()


def mypy(folder, text):
    pytest.importorskip("mypy")
    options = ["--cache-dir", folder.parent / "cache", "--config-file", os.devnull]
    # what others wrote need not be read to know these names
    options += ["--follow-imports=silent", "--no-site-packages", "--ignore-missing-imports"]
    (folder / "consumer.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *options, "consumer.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_types_are_exact_for_those_who_use_them(tmp_path):
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    done = mypy(tmp_path / "right", CONSUMER)
    assert done.returncode == 0, done.stdout + done.stderr
    done = mypy(tmp_path / "wrong", WRONG)
    wrong = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert wrong == set(range(4, 12)), done.stdout
