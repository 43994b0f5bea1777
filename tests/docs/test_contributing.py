"""CONTRIBUTING.md tells where each kind of extension goes, briefly."""

import re
from pathlib import Path

from benchbcss import hookspecs

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def section(title):
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0].strip()


def test_every_hook_that_registers_something_is_named_within_ten_lines():
    """Backends have a section of their own, suites are explained in the README."""
    lines = [line for line in section("Where to add something").splitlines() if line]
    assert len(lines) <= 10
    named = set(re.findall(r"`(benchbcss_register_\w+)`", "\n".join(lines)))
    hooks = {name for name in vars(hookspecs) if name.startswith("benchbcss_register_")}
    assert hooks - {"benchbcss_register_backends", "benchbcss_register_suites"} <= named
    assert {
        f"benchbcss_register_{kind}"
        for kind in (
            "metrics",
            "readers",
            "executors",
            "exporters",
            "augmentations",
            "labellers",
            "trackers",
            "commands",
        )
    } == named


def test_links_and_make_targets_exist():
    for target in re.findall(r"\]\(([^)#\s]+)\)", TEXT):
        assert "://" in target or (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.M), target
