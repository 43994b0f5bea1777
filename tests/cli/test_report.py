"""``benchbcss report``: what is chosen, where it is written, what is imported for it."""

import subprocess
import sys

import board_support
import pytest
from tests_support import cli


@pytest.fixture
def workspace(tmp_path):
    for name, mean in (("one", 0.6), ("two", 0.4)):
        board_support.write(tmp_path / "w", board_support.result(name, mean))
    other = board_support.result("three", 0.5, track="prompted")
    other["suite"]["name"] = "mine"
    board_support.write(tmp_path / "w", other)
    return tmp_path / "w"


def report(workspace, *options, check=0):
    output = workspace.parent / "out.html"
    done = cli("report", *options, "--workspace", workspace, "--output", output, check=check)
    return done, output.read_text(encoding="utf-8") if output.exists() else ""


def test_everything_is_in_it_and_where_is_said(workspace):
    done, text = report(workspace)
    assert done.stdout == ""
    assert f"wrote {workspace.parent / 'out.html'} (" in done.stderr
    for title in ("bcss5 / semantic", "mine / prompted", "Reported elsewhere", "FCN8-VGG16"):
        assert title in text


@pytest.mark.parametrize(
    ("options", "shown", "hidden"),
    [
        (["--suite", "mine"], "mine / prompted", "bcss5 / semantic"),
        (["--track", "semantic"], "bcss5 / semantic", "mine / prompted"),
        (["three"], "mine / prompted", "bcss5 / semantic"),
        (["--no-reported"], "bcss5 / semantic", "FCN8-VGG16"),
    ],
)
def test_it_is_chosen_as_on_the_leaderboard(workspace, options, shown, hidden):
    _, text = report(workspace, *options)
    assert shown in text
    assert hidden not in text


def test_a_misspelt_backend_is_answered_with_its_near_miss(workspace):
    done, text = report(workspace, "thre", check=2)
    assert "three" in done.stderr
    assert text == ""


def test_the_default_is_report_html_here(workspace, monkeypatch):
    monkeypatch.chdir(workspace.parent)
    cli("report", "--workspace", workspace, check=0)
    assert (workspace.parent / "report.html").is_file()


HEAVY = {"altair", "vl_convert", "great_tables", "pandas", "torch", "timm", "jinja2"}


def imported(*lines):
    """Which of HEAVY are imported once command lines were carried out."""
    code = f"""
import sys
from benchbcss.cli.main import cli
for words in {lines!r}:
    try:
        cli.main(list(words), standalone_mode=False)
    except SystemExit:
        pass
print(*(name for name in {sorted(HEAVY)!r} if name in sys.modules), file=sys.stderr, end="")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()) if done.stderr else set()


def test_help_and_the_leaderboard_import_none_of_its_libraries(workspace):
    leaderboard = ("leaderboard", "--workspace", str(workspace))
    assert imported(("--help",), ("report", "--help"), leaderboard) == set()


def test_the_report_itself_imports_no_torch(workspace):
    output = str(workspace.parent / "x.html")
    found = imported(("report", "--workspace", str(workspace), "--output", output))
    assert {"altair", "great_tables"} <= found
    assert not {"torch", "timm"} & found
