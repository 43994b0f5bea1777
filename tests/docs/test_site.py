"""The documentation site: it builds without a warning, and its pages speak of what exists."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from benchbcss import registry
from benchbcss.cli.main import cli
from benchbcss.recipes import resolve

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
CODE = sorted((ROOT / "benchbcss").rglob("*.py"))


def commands() -> list[tuple[str, str]]:
    """Every line of a code block that calls benchbcss, joined where it is continued."""
    lines = []
    for page in [*PAGES, ROOT / "README.md", ROOT / "METHODOLOGY.md", ROOT / "CONTRIBUTING.md"]:
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"benchbcss [a-z]", line):
                    lines.append((page.name, line))
    return lines


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_in_the_documentation_exists_with_its_options(page: str, line: str) -> None:
    """Parsed by the command line itself, up to files and folders that only a reader has."""
    words = shlex.split(line, comments=True)[1:]
    context = click.Context(cli, info_name="benchbcss")
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"{page}: there is no command '{name}'"
    assert command is not None
    try:
        command.make_parser(context).parse_args(words)
    except click.UsageError as error:
        pytest.fail(f"{page}: {line}: {error.format_message()}")


@pytest.mark.parametrize(("page", "line"), [c for c in commands() if " --set " in c[1]])
def test_settings_in_the_documentation_have_an_effect(page: str, line: str) -> None:
    """By the recipe of each backend on the line; of one that a reader has, unetpp's stands in."""
    backends = registry.load().backends
    words = shlex.split(line, comments=True)
    names = [word for word in words if word in backends] or ["unetpp"]
    preset = "smoke" if "smoke" in words else "full"
    for name in names:
        given = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
        own = [text.removeprefix(f"{name}:") for text in given]
        shared = [text for text in own if text.partition(":")[0] not in backends]
        resolve(backends[name].info.recipe, preset, tuple(shared))


def headings() -> list[str]:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    return re.findall(r"^### (.+)$", text, re.M)


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Every text in the code, with ``...`` where a value is put in."""
    texts = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "..." for p in node.values)
                texts.append("".join(map(str, parts)))
    return texts


@pytest.mark.parametrize("heading", headings())
def test_troubleshooting_quotes_messages_that_the_code_has(
    heading: str, messages: list[str]
) -> None:
    assert any(heading in text for text in messages), heading


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="Sphinx is not installed")
def test_it_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    """A page outside the navigation, a dead link and a missing anchor are warnings."""
    command = [sys.executable, ROOT / "docs" / "site" / "build.py", tmp_path]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    html = tmp_path / "html"
    for page in [*(path.relative_to(ROOT / "docs") for path in PAGES), Path("METHODOLOGY.md")]:
        text = (html / page.with_suffix(".html")).read_text("utf-8")
        fetched = re.findall(r"<(?:script|img|link)\b[^>]*?(?:src|href)=.?https?://\S+", text)
        assert not fetched, f"{page} fetches {fetched}"
    suite = (html / "schema" / "suite.html").read_text("utf-8")
    assert "success criteria, judged whenever a board is read" in suite
