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


def test_help_and_the_leaderboard_import_none_of_its_libraries(workspace):
    code = (
        "import sys\n"
        "from benchbcss.cli.main import cli\n"
        f"for words in (['--help'], ['report', '--help'], ['leaderboard', '--workspace', {str(workspace)!r}]):\n"
        "    try:\n"
        "        cli.main(words, standalone_mode=False)\n"
        "    except SystemExit:\n"
        "        pass\n"
        "heavy = {'altair', 'vl_convert', 'great_tables', 'pandas', 'torch', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_report_itself_imports_no_torch(workspace):
    code = (
        "import sys\n"
        "from benchbcss.cli.main import cli\n"
        "cli.main(['report', '--workspace', {!r}, '--output', {!r}], standalone_mode=False)\n"
        "assert not {{'torch', 'timm'}} & set(sys.modules)\n"
    ).format(str(workspace), str(workspace.parent / "x.html"))
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
