"""What the documentation says is so."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import warm

from benchbcss import hookspecs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("[RM]*.md"), *ROOT.glob("leaderboard/*.md"), *ROOT.glob("docs/*.md")])


def test_the_hook_reference_has_every_hook_with_its_signature():
    text = (ROOT / "docs" / "hooks.md").read_text()
    listed = set(re.findall(r"^\| `(benchbcss_\w+\([^)]*\))`", text, re.M))
    specs = {
        f"{name}({', '.join(inspect.signature(value).parameters)})"
        for name, value in vars(hookspecs).items()
        if name.startswith("benchbcss_")
    }
    assert listed == specs


def test_the_hook_reference_has_an_example_of_every_hook():
    """``tests/test_strangers.py`` runs them."""
    text = (ROOT / "docs" / "hooks.md").read_text()
    shown = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("benchbcss_"):
                assert [ast.unparse(mark) for mark in node.decorator_list] == ["hookimpl"]
                shown[node.name] = {argument.arg for argument in node.args.args}
    specs = {name for name in vars(hookspecs) if name.startswith("benchbcss_")}
    assert set(shown) == specs
    for name, arguments in shown.items():
        assert arguments <= set(inspect.signature(getattr(hookspecs, name)).parameters)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def blocks(page):
    """{path: content} of the page's marked code blocks, and the commands of its run block."""
    text = page.read_text()
    files = dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", text, re.S))
    (run,) = re.findall(r"<!-- run -->\n```\n(.*?)```", text, re.S)
    return files, run.strip().splitlines()


@pytest.mark.slow
def test_the_tutorial_leads_to_a_row_on_the_leaderboard(tmp_path):
    files, commands = blocks(ROOT / "docs" / "tutorial.md")
    package, site = tmp_path / "textnet", tmp_path / "site"
    for name, content in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(content)
    env = {
        **os.environ,
        "PYTHONPATH": str(site),
        "BENCHBCSS_WORKSPACE": str(tmp_path / "w"),
    }
    assert commands[0] == "pip install -e ."
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([sys.executable, *install, str(site), str(package)], check=True)
    output = ""
    for command in commands[1:]:
        name, *words = command.split()
        assert name == "benchbcss"
        done = warm.run(name, words, env, package)
        assert done.returncode == 0, done.stdout + done.stderr
        output += done.stdout
    assert "nests / semantic" in output
    (path,) = tmp_path.glob("w/runs/nests/textnet/*/result.json")
    result = json.loads(path.read_text())
    assert result["plugin"]["distribution"] == "textnet-benchbcss"
    assert result["training"]["steps"] == 40
    majority = json.loads(
        next(tmp_path.glob("w/runs/nests/floor_majority/*/result.json")).read_text()
    )
    scores = [r["tracks"]["semantic"]["headline"]["per_roi"]["mean"] for r in (result, majority)]
    assert scores[0] > scores[1]
    tests = warm.run("pytest", ["-q", "-p", "no:cacheprovider", "tests"], env, package)
    assert tests.returncode == 0, tests.stdout[-2000:]
