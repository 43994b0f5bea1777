"""docs/cli.md is what the commands say of themselves."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import click

from benchbcss import errors
from benchbcss.cli import reference
from benchbcss.cli.main import cli

ROOT = Path(__file__).parents[2]


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchbcss.cli.reference", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_is_fresh():
    """In a process of its own, which loads this distribution's plugins alone."""
    written = (ROOT / "docs" / "cli.md").read_text()
    assert written == command().stdout, "run `python -m benchbcss.cli.reference --write`"


def test_no_list_of_commands_cuts_a_sentence(monkeypatch):
    """At 80 columns: what a command is for is read there."""
    monkeypatch.setenv("COLUMNS", "80")
    context = click.Context(cli, info_name="benchbcss")
    names = cli.list_commands(context)
    for group in (cli, *(cli.get_command(context, name) for name in names)):
        if isinstance(group, click.Group):
            text = group.get_help(click.Context(group)).partition("Commands:")[2]
            assert text
            assert [line for line in text.splitlines() if line.endswith("...")] == []


def test_every_command_and_option_is_there():
    text = reference.page()
    context = click.Context(cli, info_name="benchbcss")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command.callback.__module__.startswith("benchbcss."):
            section = text.split(f"## benchbcss {name}\n")[1].split("\n## ")[0]
            for parameter in command.params:
                if isinstance(parameter, click.Option):
                    assert parameter.opts[0] in section, (name, parameter.opts)
                else:
                    assert parameter.human_readable_name in section
    assert "## benchbcss data verify\n" in text


def test_terminal_and_environment_change_nothing(monkeypatch):
    plain = reference.page()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("BENCHBCSS_WORKSPACE", "/elsewhere")
    monkeypatch.setenv("BENCHBCSS_DATA", "/data")
    assert reference.page() == plain


def test_commands_of_other_distributions_are_left_out(monkeypatch):
    foreign = click.Command("foreign", callback=lambda: None)
    monkeypatch.setattr(type(cli), "list_commands", lambda self, context: ["foreign", "show"])
    real = type(cli).get_command
    monkeypatch.setattr(
        type(cli),
        "get_command",
        lambda self, context, name: foreign if name == "foreign" else real(self, context, name),
    )
    text = reference.page()
    assert "## benchbcss show" in text
    assert "foreign" not in text


def test_defaults_ranges_and_variables_are_shown():
    rows = dict(
        line.split(" | ", 1)
        for line in reference.page().split("## benchbcss run\n")[1].split("\n## ")[0].splitlines()
        if line.startswith("| `")
    )
    assert "`benchbcss-workspace`" in rows["| `--workspace DIRECTORY`"]
    assert "`BENCHBCSS_WORKSPACE`" in rows["| `--workspace DIRECTORY`"]
    assert "(1<=x<=1000)" in rows["| `--jobs INTEGER RANGE`"]
    assert "May be repeated." in rows["| `--set [BACKEND:]KEY.PATH=VALUE`"]


def test_exit_codes_are_those_in_the_code():
    exits = {
        node.args[0].value
        for path in (ROOT / "benchbcss" / "cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "sys.exit"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, int)
    }
    raised = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.BenchError)
    }
    interrupted = 128 + signal.SIGINT  # as shells have it
    assert exits | raised | {0, interrupted} == set(reference.EXIT_CODES)


def test_every_option_says_what_it_is():
    for line in reference.page().splitlines():
        if line.startswith("| `"):
            assert line.split(" | ")[-1].strip(" |"), line


def test_other_arguments_are_refused():
    done = command("--write", "now")
    assert done.returncode == 1
    assert "usage" in done.stderr
